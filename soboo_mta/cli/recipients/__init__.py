"""Commands about recipients of tenants' mail."""
