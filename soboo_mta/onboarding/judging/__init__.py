"""What one answer of DNS says about one record, or about the policies around it."""
