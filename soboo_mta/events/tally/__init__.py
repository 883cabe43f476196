"""What was sent and complained of, added up by day from the rows that tell of each."""
