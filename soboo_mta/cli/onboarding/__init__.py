"""From a name to a first proven message, in the terminal."""
