"""A small shop that writes to its customers."""
