"""Keeps the zones that follow from the store on a name server."""
