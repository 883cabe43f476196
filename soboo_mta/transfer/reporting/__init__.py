"""Reports to senders: when one is due, to whom it may go, and the unit that keeps it."""
