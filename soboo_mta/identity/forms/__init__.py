"""Further forms of required records: for spreadsheets, for DNS tools and for people."""
