"""What others report on whole domains, as figures."""
