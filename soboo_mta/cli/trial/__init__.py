"""Trying the relay out on one machine: the lab, and the demonstration that uses it."""
