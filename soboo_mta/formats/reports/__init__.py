"""Reports on many messages at once, from octets to values: DMARC's and TLS's."""
