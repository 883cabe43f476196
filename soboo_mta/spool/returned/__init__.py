"""Returns as the store holds them: kept as they came, claimed to be read, settled once."""
