"""How often: connections, messages and recipients a minute, over all workers.

Each limit is a bucket that holds a minute's worth and fills evenly: the generic cell rate
algorithm, whose whole state is the time at which the bucket is full again.
"""

from collections.abc import Callable

from soboo_mta.mail.ids import CredentialId
from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.submission.options import ListenerOptions

_MINUTE = 60.0
_ROUNDING = 1e-6  # seconds; sums of a minute's shares are not exactly a minute


class Rates:
    """What each client and each credential did in the last minute. A limit of None is
    never asked; where one of several is reached, nothing is counted."""

    def __init__(
        self, options: ListenerOptions, times: SharedTimes, clock: Callable[[], float]
    ) -> None:
        self._options = options
        self._times = times.rates
        self._clock = clock

    def may_connect(self, client: str) -> bool:
        """Count one more connection of `client` (a key) and return True, or False."""
        limit = self._options.connections_per_minute_per_address
        return self._take("connections", (client, limit))

    def may_send(self, client: str, credential: CredentialId | None) -> bool:
        """Count one more message, or return False."""
        options = self._options
        return self._take(
            "messages",
            (client, options.messages_per_minute_per_address),
            (_name(credential), options.messages_per_minute_per_credential),
        )

    def may_address(self, client: str, credential: CredentialId | None) -> bool:
        """Count one more recipient, or return False."""
        options = self._options
        return self._take(
            "recipients",
            (client, options.recipients_per_minute_per_address),
            (_name(credential), options.recipients_per_minute_per_credential),
        )

    def _take(self, what: str, *limits: tuple[str, int | None]) -> bool:
        now = self._clock()
        full_again: dict[str, float] = {}
        for whose, limit in limits:
            if limit is not None and whose:
                key = f"{what} {whose}"
                at = max(self._times.get(key), now) + _MINUTE / limit
                if at > now + _MINUTE + _ROUNDING:
                    return False
                full_again[key] = at
        for key, at in full_again.items():
            self._times.put_off(key, at)
        return True


def _name(credential: CredentialId | None) -> str:
    """ "" for a trusted network, which has no credential to count."""
    return "" if credential is None else f"credential {credential}"
