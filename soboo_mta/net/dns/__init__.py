"""DNS by dnspython: questions, our resolver, and zones' own servers."""
