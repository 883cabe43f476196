"""Commands about who may send: tenants, credentials, domains, keys, the master key."""
