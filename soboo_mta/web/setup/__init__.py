"""The setup page: what a domain's owner publishes in DNS, and how it looks now."""
