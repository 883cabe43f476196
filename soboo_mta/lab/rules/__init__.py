"""What sinks are told to do: rules, from a file, from a test, or in an address."""
