"""What the zones that we publish hold, and zone files."""
