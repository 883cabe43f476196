"""`soboo-mta queue`: what waits and why, and an operator's moves on it."""
