"""`soboo-mta connect`: Domain Connect."""
