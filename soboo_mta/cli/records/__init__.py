"""`soboo-mta domain records`: what to publish, and hints on how."""
