"""What comes back: received, kept, recognised, and charged to the message it is about."""
