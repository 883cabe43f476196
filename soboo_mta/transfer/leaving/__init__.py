"""What a departure needs besides its plan: the form of the message that the hop takes."""
