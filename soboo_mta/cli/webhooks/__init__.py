"""`soboo-mta webhook`: tenants' endpoints that are told what happens."""
