"""The lab's name server, and the zones and faults that it answers from."""
