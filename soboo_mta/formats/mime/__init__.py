"""The structure of a MIME message as byte ranges, and its form for a 7-bit next hop."""
