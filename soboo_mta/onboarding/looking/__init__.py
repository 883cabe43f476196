"""What one look at a domain asks, of whom, and what follows from the answers."""
