"""The process that reads what strangers sent: it may be killed, and nothing is lost."""
