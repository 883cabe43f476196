"""Messages in which a return goes home: the answer itself, or words with it attached."""
