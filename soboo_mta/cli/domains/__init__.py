"""`soboo-mta domain` and `soboo-mta key`: the life of a sending domain."""
