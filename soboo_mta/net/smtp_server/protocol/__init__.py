"""What stands on the wire as values, and back; pure."""
