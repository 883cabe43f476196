"""Frozen values that every room shares: addresses, envelopes, replies, outcomes, ids.

Nothing here does input or output, reads a clock or knows a library.
"""
