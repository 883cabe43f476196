"""The tenants file: what it declares, and how the store is made to agree."""
