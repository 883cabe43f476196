"""`soboo-mta complaints`: how often mail is complained of, and who is spared."""
