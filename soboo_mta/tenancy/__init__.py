"""Who may send: tenants, credentials, sending domains with their keys, quotas."""
