"""Whether a message would pass: what providers ask, and what was observed against it."""
