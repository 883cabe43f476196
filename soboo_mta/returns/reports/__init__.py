"""Reports on whole domains: what counts of them, and what follows."""
