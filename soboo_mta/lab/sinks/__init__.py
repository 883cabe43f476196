"""The lab's mail sinks: SMTP servers that accept, or misbehave as rules say."""
