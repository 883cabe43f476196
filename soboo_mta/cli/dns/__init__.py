"""Commands that show what DNS says, should say, and would mean for a message."""
