"""Keys that sign, kept sealed: made, published, retired, revoked, withdrawn."""
