"""Octets to values and back: header, From, canonical forms, keys, DKIM, VERP.

Nothing here does input or output, reads a clock or draws on another room's state.
"""
