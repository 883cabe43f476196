"""Who serves a zone, and what its form wants: known DNS hosts."""
