"""Statements and transactions that move rows of the queue: claims, settlements, sweeps."""
