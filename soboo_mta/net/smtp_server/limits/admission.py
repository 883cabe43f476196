"""How much clients hold at a time: connections and message octets in memory. Counts of
this process."""

from collections import Counter
from ipaddress import IPv6Address, IPv6Network
from typing import TypeVar

from soboo_mta.mail.ids import CredentialId
from soboo_mta.mail.reply import Reply
from soboo_mta.net.smtp_server.limits.neighbours import Neighbours
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.ports import IpAddress
from soboo_mta.submission import replies
from soboo_mta.submission.options import ListenerOptions

K = TypeVar("K")
_GIVE_WAY = 0.01  # seconds until a less busy process, awake, has taken the client
_GIVE_WAY_FULL = 0.25  # here it would be refused: worth a longer wait


def client_key(client: IpAddress) -> str:
    """One IPv4 address, or the /64 that one IPv6 customer has."""
    if isinstance(client, IPv6Address):
        return str(IPv6Network((client, 64), strict=False))
    return str(client)


class Admission:
    """Open connections, of whom they are, and the octets they hold.

    A connection enters, and later logs in; each has its opposite.
    """

    def __init__(
        self, options: ListenerOptions, rates: Rates, neighbours: Neighbours
    ) -> None:
        self._options = options
        self._neighbours = neighbours
        self._rates = rates
        self._by_client: Counter[str] = Counter()
        self._by_credential: Counter[CredentialId] = Counter()
        self.connections = 0
        self.buffered = 0

    def enter(self, client: str) -> Reply | None:
        """Count a connection of `client` (a key) and return None, or why not to serve
        it. Each call is matched by one of `leave`."""
        self.connections += 1
        self._neighbours.note(self.connections)
        self._by_client[client] += 1
        if self.connections > self._options.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        if self._by_client[client] > self._options.max_connections_per_address:
            return replies.TOO_MANY_FROM_CLIENT
        if not self._rates.may_connect(client):
            return replies.CONNECTING_TOO_OFTEN
        return None

    def leave(self, client: str) -> None:
        """End what `enter` began, admitted or not."""
        self.connections -= 1
        self._neighbours.note(self.connections)
        _count_down(self._by_client, client)

    def gives_way(self) -> float:
        """For how many seconds the next client is left to a less busy process; 0: take
        it. Where all are at their bounds, that is to refuse it."""
        fewest = self._neighbours.fewest()
        if fewest is None or fewest >= self.connections:
            return 0.0
        is_full = self.connections >= self._options.max_connections
        return _GIVE_WAY_FULL if is_full else _GIVE_WAY

    def log_in(self, credential: CredentialId) -> bool:
        """Count the connection as one of `credential`; False, and nothing counted, when
        it has as many as it may."""
        if (
            self._by_credential[credential]
            >= self._options.max_connections_per_credential
        ):
            return False
        self._by_credential[credential] += 1
        return True

    def log_out(self, credential: CredentialId) -> None:
        """End what `log_in` began."""
        _count_down(self._by_credential, credential)

    def hold(self, octets: int) -> bool:
        """Count `octets` (negative: given back); False when all together hold too much."""
        self.buffered += octets
        return self.buffered <= self._options.max_buffered_octets

    def has_room(self, octets: int) -> bool:
        """Whether a message of `octets` (0: unknown) could be held now."""
        return self.buffered + max(octets, 1) <= self._options.max_buffered_octets


def _count_down(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
