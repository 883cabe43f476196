"""From due to settled: where a message goes, when, over which session, what became of it."""
