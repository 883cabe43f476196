"""The queue: accepted messages, who may try them, and what became of each recipient."""
