"""What an operator asks of the queue and orders it to do."""
