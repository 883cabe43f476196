"""A relay and its local internet for other people's test suites: the pytest plugin.

docs/testing.md has each fixture. Nothing is imported here: a suite that does not use the
plugin must not feel it.
"""
