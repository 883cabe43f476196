"""Looks at what customers published, and keeps looking."""
