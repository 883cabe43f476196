"""Keeps the zones that are ours, and our part of the operator's, on a name server."""
