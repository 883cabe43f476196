"""How much a client may take: connections, logins, messages, octets, time."""
