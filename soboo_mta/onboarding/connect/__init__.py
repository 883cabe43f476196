"""Domain Connect: the customer publishes our records by one click at its DNS host."""
