"""The duty that adds up what was sent, and acts on how often it is complained of."""
