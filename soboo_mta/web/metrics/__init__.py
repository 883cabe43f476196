"""Numbers about the relay, in the form that Prometheus reads.

Each process counts on a `board` of its own (`counting`), in memory that it shares; the
control process puts all boards and the store's `figures` together (`exposition`). What
each number means stands in `names`.
"""
