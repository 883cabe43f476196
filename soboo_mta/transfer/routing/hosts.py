"""Which hosts of those that DNS names may be asked, and what to say when there are none.

Pure: `choose_hosts` reads an MX answer, the rest judges addresses. SERVFAIL is never read
as "no MX" (RFC 5321 §5.1), a null MX ends it (RFC 7505), and no host leads to ourselves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.outcome import Deferred, Failed, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.ports import HopAddress, IpAddress, MxRecord

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def choose_hosts(
    records: Iterable[MxRecord], own_names: frozenset[str]
) -> Sequence[MxRecord] | Failed:
    """Return the usable MX records, best first, or why there are none.

    A lone null MX refuses all mail (RFC 7505 §3); we and all hosts not better than us
    drop out (RFC 5321 §5.1); a host written as an address is no host name.
    """
    ordered = sorted(records, key=lambda mx: (mx.preference, mx.host))
    named = [mx for mx in ordered if mx.host not in ("", ".")]
    if not named:
        return _NULL_MX if ordered else _no_hosts("its MX answer holds no host")
    ours = [mx.preference for mx in named if mx.host in own_names]
    if ours:
        named = [mx for mx in named if mx.preference < min(ours)]
        if not named:
            return _LOOP
    hosts = [mx for mx in named if not _is_address(mx.host)]
    return hosts or _no_hosts("its MX names an address instead of a host")


def plain_address(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 one stands for (mapped, compatible, 6to4, NAT64 of
    RFC 6052): a gateway would lead there."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_private(address: IpAddress) -> bool:
    """Whether mail must not go there unless private destinations are allowed."""
    address = plain_address(address)
    is_local = isinstance(address, IPv6Address) and address.is_site_local
    return is_local or not address.is_global


def is_nowhere(address: IpAddress) -> bool:
    """Whether it is no host's address: unspecified or multicast."""
    address = plain_address(address)
    return address.is_unspecified or address.is_multicast


@dataclass(slots=True)
class Addresses:
    """What address look-ups brought, summed up over hosts."""

    plain: list[IpAddress]
    hops: list[tuple[int, HopAddress]]
    unanswered: str
    forbidden: str  # the first host that mail must not go to
    ttl: float

    def __init__(self, plain: Iterable[IpAddress] = ()) -> None:
        self.plain = list(plain)
        self.hops = []
        self.unanswered = ""
        self.forbidden = ""
        self.ttl = float("inf")

    def merge(self, other: "Addresses") -> None:
        self.unanswered = self.unanswered or other.unanswered
        self.ttl = min(self.ttl, other.ttl)

    def nothing(self) -> Deferred | Failed:
        """Why there is no address: not knowing comes before knowing of none."""
        if self.unanswered:
            return unanswered_look_up(self.unanswered)
        if self.forbidden:
            return _leads_back(self.forbidden)
        return _no_hosts("none of its mail hosts has an address")


def by_preference(
    hops: Iterable[tuple[int, HopAddress]],
) -> tuple[tuple[HopAddress, ...], ...]:
    """Return the hops in groups of equal preference, the best first."""
    groups: dict[int, list[HopAddress]] = {}
    for preference, hop in hops:
        groups.setdefault(preference, []).append(hop)
    return tuple(tuple(group) for _, group in sorted(groups.items()))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _failed(code: int, status: str, text: str, reason: Reason) -> Failed:
    return Failed(reply=reply(code, status, text), reason=reason, scope=Scope.SITE)


def no_such_domain(domain: Domain) -> Failed:
    """Return the outcome of NXDOMAIN."""
    text = f"the domain {domain} does not exist"
    return _failed(550, "5.1.2", text, Reason.DNS_PERMANENT)


def _no_hosts(cause: str) -> Failed:
    text = f"the recipient's domain takes no mail: {cause}"
    return _failed(550, "5.4.4", text, Reason.DNS_PERMANENT)


def unanswered_look_up(what: str) -> Deferred:
    """Return the outcome of a look-up for `what` that brought no answer."""
    text = f"DNS gave no answer for {what}"
    return Deferred(
        reply=reply(451, "4.4.3", text),
        reason=Reason.DNS_TEMPORARY,
        scope=Scope.SITE,
    )


_REFUSES = "the recipient's domain takes no mail (null MX)"
_NULL_MX = _failed(556, "5.1.10", _REFUSES, Reason.DNS_PERMANENT)  # RFC 7504 §2
_WE_ARE_BEST = "the recipient's best mail host is ourselves, and takes no mail for it"
_LOOP = _failed(554, "5.4.6", _WE_ARE_BEST, Reason.LOOP)


def _leads_back(host: str) -> Failed:
    text = (
        f"the recipient's mail host leads back to us or to a private address: {host}"
        " (a lab allows that by [delivery] private_destinations)"
    )
    return _failed(554, "5.4.6", text, Reason.LOOP)
