"""`soboo-mta reports`: what others report on whole domains."""
