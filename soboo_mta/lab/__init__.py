"""The local internet on loopback: a DNS authority, sinks, and a verdict on each message."""
