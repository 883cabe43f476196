"""Wrong passwords of late, by client and by user name, over all workers.

A client that has logged in as a user may do so again, whatever was counted: neither
guesses from elsewhere nor a neighbour behind the same address lock a user out. Each
connection still ends after a few wrong passwords, and each wrong one is answered late.
"""

from collections.abc import Callable
from datetime import timedelta

from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.submission.options import ListenerOptions

_REMEMBERED = timedelta(days=30).total_seconds()  # a client that knew the secret


class FailedLogins:
    """Counts leak evenly: who used up the allowance of a window has one more guess when
    the window's share of one has passed."""

    def __init__(
        self, options: ListenerOptions, times: SharedTimes, clock: Callable[[], float]
    ) -> None:
        self._options = options
        self._failures = times.failures
        self._known = times.known
        self._clock = clock
        self._window = options.failed_login_window.total_seconds()

    def is_barred(self, client: str, user_name: str) -> bool:
        """Whether this login is to be refused without a look at its secret."""
        now = self._clock()
        if self._known.get(_pair(client, user_name)) > now:
            return False
        return any(
            self._failures.get(key) > now + self._window - share
            for key, share in self._shares(client, user_name)
        )

    def failed(self, client: str, user_name: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        for key, share in self._shares(client, user_name):
            self._failures.put_off(key, max(self._failures.get(key), now) + share)

    def succeeded(self, client: str, user_name: str) -> None:
        """Remember that this client knows this user's secret."""
        until = self._clock() + _REMEMBERED
        self._known.put_off(_pair(client, user_name), until)

    def _shares(self, client: str, user_name: str) -> tuple[tuple[str, float], ...]:
        options = self._options
        return (
            (
                f"failed from {client}",
                self._window / options.max_failed_logins_per_address,
            ),
            (
                f"failed as {user_name}",
                self._window / options.max_failed_logins_per_user,
            ),
        )


def _pair(client: str, user_name: str) -> str:
    return f"known {client} {user_name}"
