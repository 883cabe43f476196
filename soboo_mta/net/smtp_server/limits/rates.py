"""How often: connections, messages and recipients a minute, over all workers.

Each limit is a bucket that holds a minute's worth and fills evenly: the generic cell rate
algorithm, whose whole state is the time at which the bucket is full again.
"""

from collections.abc import Callable

from soboo_mta.mail.ids import CredentialId
from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.submission.options import ListenerOptions

_MINUTE = 60.0
_UNLIMITED = (None, None)  # what a client, and a credential, may
_ROUNDING = 1e-6  # seconds; sums of a minute's shares are not exactly a minute


class Rates:
    """What each client and each credential did in the last minute. A limit of None is
    never asked; where one of several is reached, nothing is counted."""

    def __init__(
        self, options: ListenerOptions, times: SharedTimes, clock: Callable[[], float]
    ) -> None:
        self._times = times.rates
        self._clock = clock
        self._connections = (options.connections_per_minute_per_address, None)
        self._messages = (
            options.messages_per_minute_per_address,
            options.messages_per_minute_per_credential,
        )
        self._recipients = (
            options.recipients_per_minute_per_address,
            options.recipients_per_minute_per_credential,
        )

    def may_connect(self, client: str) -> bool:
        """Count one more connection of `client` (a key) and return True, or False."""
        return self._take("connections", client, None, self._connections)

    def may_send(self, client: str, credential: CredentialId | None) -> bool:
        """Count one more message, or return False."""
        if self._messages == _UNLIMITED:
            return True
        return self._take("messages", client, credential, self._messages)

    def may_address(self, client: str, credential: CredentialId | None) -> bool:
        """Count one more recipient, or return False."""
        if self._recipients == _UNLIMITED:
            return True
        return self._take("recipients", client, credential, self._recipients)

    def _take(
        self,
        what: str,
        client: str,
        credential: CredentialId | None,
        limits: tuple[int | None, int | None],
    ) -> bool:
        of_client, of_credential = limits
        wanted = [(f"{what} from {client}", of_client)]
        if credential is not None:  # a trusted network has none to count
            wanted.append((f"{what} with {credential}", of_credential))
        now = self._clock()
        full_again: dict[str, float] = {}
        for key, limit in wanted:
            if limit is not None:
                at = max(self._times.get(key), now) + _MINUTE / limit
                if at > now + _MINUTE + _ROUNDING:
                    return False
                full_again[key] = at
        for key, at in full_again.items():
            self._times.put_off(key, at)
        return True
