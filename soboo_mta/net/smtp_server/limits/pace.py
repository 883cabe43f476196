"""How long a client may take over one message (RFC 5321 §4.5.3.2.5). Pure."""

from soboo_mta.submission.options import ListenerOptions


class Pace:
    """Credit of time that octets earn at the minimum rate, from a grace at the start.

    The credit never exceeds the longest pause, so that a client which sent fast and then
    drips is cut as soon as one that dripped from the beginning; one that keeps the rate
    may take hours.
    """

    def __init__(self, options: ListenerOptions, now: float) -> None:
        self._rate = options.min_data_rate
        self._block = options.data_block_timeout.total_seconds()
        grace = options.data_grace.total_seconds()
        self._most = max(grace, self._block)
        self._used_up = now + grace

    def deadline(self, now: float) -> float:
        """When the next octets must be there."""
        return min(self._used_up, now + self._block)

    def count(self, octets: int, now: float) -> None:
        """Take in that `octets` came."""
        self._used_up = min(self._used_up + octets / self._rate, now + self._most)
