"""Doors to the network: one outside library per file, none of them known above."""
