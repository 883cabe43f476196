"""What answers say besides their code: who is refused, when to come back; and who is told."""
