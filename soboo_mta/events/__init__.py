"""What happened: one compact row an attempt, events of everything else, and log lines."""
