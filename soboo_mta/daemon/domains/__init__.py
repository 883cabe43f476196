"""Domains' duties joined to the store and the settings."""
