"""How much one client, and all clients together, may take: connections, failed logins,
message octets in memory. Counts of this process; every table is bounded."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from soboo_mta.mail.reply import Reply
from soboo_mta.ports import IpAddress
from soboo_mta.submission import replies
from soboo_mta.submission.options import ListenerOptions

_MAX_REMEMBERED = 10_000  # clients or names whose failed logins are counted


def client_key(client: IpAddress) -> str:
    """One IPv4 address, or the /64 that one IPv6 customer has."""
    if isinstance(client, IPv6Address):
        return str(IPv6Network((client, 64), strict=False))
    return str(client)


class Admission:
    """Open connections and the octets they hold."""

    def __init__(self, options: ListenerOptions) -> None:
        self._options = options
        self._by_client: Counter[str] = Counter()
        self.connections = 0
        self.buffered = 0

    def enter(self, client: str) -> Reply | None:
        """Count a connection of `client` (a key) and return None, or why not to serve
        it. Each call is matched by one of `leave`."""
        self.connections += 1
        self._by_client[client] += 1
        if self.connections > self._options.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        if self._by_client[client] > self._options.max_connections_per_address:
            return replies.TOO_MANY_FROM_CLIENT
        return None

    def leave(self, client: str) -> None:
        """End what `enter` began, admitted or not."""
        self.connections -= 1
        self._by_client[client] -= 1
        if self._by_client[client] <= 0:
            del self._by_client[client]

    def hold(self, octets: int) -> bool:
        """Count `octets` (negative: given back); False when all together hold too much."""
        self.buffered += octets
        return self.buffered <= self._options.max_buffered_octets


class FailedLogins:
    """Wrong passwords of late, by client and by user name.

    A client that has logged in as a user within the window may do so again whatever was
    counted: neither guesses from elsewhere nor a neighbour behind the same address lock
    the user out. Each connection still ends after a few wrong passwords.
    """

    def __init__(self, options: ListenerOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._window = options.failed_login_window.total_seconds()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._good: OrderedDict[str, float] = OrderedDict()

    def is_barred(self, client: str, user_name: str) -> bool:
        """Whether this login is to be refused without a look at its secret."""
        known_at = self._good.get(f"{client} {user_name}")
        if known_at is not None and self._clock() - known_at < self._window:
            return False
        if self._count(client) >= self._options.max_failed_logins_per_address:
            return True
        wrong = self._count(f"user {user_name}")
        return wrong >= self._options.max_failed_logins_per_user

    def failed(self, client: str, user_name: str) -> None:
        """Count a wrong password."""
        for key in (client, f"user {user_name}"):
            since = self._failures.get(key, (self._clock(), 0))[0]
            if not self._count(key):
                since = self._clock()
            self._failures[key] = (since, self._count(key) + 1)
            self._failures.move_to_end(key)
        while len(self._failures) > _MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, client: str, user_name: str) -> None:
        """Remember that this client knows this user's secret."""
        key = f"{client} {user_name}"
        self._good[key] = self._clock()
        self._good.move_to_end(key)
        while len(self._good) > _MAX_REMEMBERED:
            self._good.popitem(last=False)

    def _count(self, key: str) -> int:
        since, count = self._failures.get(key, (0.0, 0))
        return count if self._clock() - since < self._window else 0
