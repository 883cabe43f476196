"""Authoritative servers behind the `NameServer` port: by dynamic updates, by zone files."""
