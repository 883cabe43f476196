"""`soboo-mta returns`: what came back."""
