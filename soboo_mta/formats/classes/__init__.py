"""The class of a refusal, by one rule set for replies in a session and for reports."""
