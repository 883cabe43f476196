"""A process that has loaded `soboo-mta`, and forks for each command of a test."""
