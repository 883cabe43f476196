"""Sends returns home: whether one goes, and to whom; the message it goes in."""
