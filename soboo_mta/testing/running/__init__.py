"""The processes behind the fixtures, and how they are spoken to."""
