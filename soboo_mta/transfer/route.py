"""Where mail for a domain goes: by the configured routes, else by its MX records.

`route` is pure: the most exact pattern wins. A `Site` is the hosts to connect to, found by
MX and address look-ups and cached by TTL; never connects. SERVFAIL is never read as "no
MX" (RFC 5321 §5.1), a null MX ends it (RFC 7505), and no host leads to ourselves or, unless
allowed, to a private address.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import zip_longest
from random import Random
from typing import Self

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.outcome import Deferred, Failed, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.ports import (
    Clock,
    Found,
    HopAddress,
    IpAddress,
    MxRecord,
    NoData,
    NoName,
    RecordType,
    Resolver,
    TlsPolicy,
    Unanswered,
)

MAX_ADDRESSES = 5  # a site with 200 MX hosts must not cost 200 connections (case 116)
MAX_HOSTS = 8  # hosts whose addresses are asked for
_OUTCOME_TTL = timedelta(minutes=5)  # "there is none" may be mended
_UNANSWERED_TTL = timedelta(seconds=30)  # case 120: no cached SERVFAIL for longer
EVERYTHING = "*"
MAX_PORT = 65_535
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """A configured next hop: an address, or a name whose addresses are looked up."""

    host: IpAddress | DnsName
    port: int

    def __str__(self) -> str:
        host = str(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int = 25) -> Self:
        """Return the hop of `host`, `host:port`, `[address]:port`, or raise FormatError."""
        host, port = _split_port(text.strip())
        number = default_port if port is None else _port(port)
        try:
            return cls(host=ip_address(host), port=number)
        except ValueError:
            return cls(host=DnsName.parse(host), port=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTo:
    """Deliver to the first of `hops` that takes it; no MX look-up, no address check: the
    operator named them."""

    hops: tuple[NextHop, ...]
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC


@dataclass(frozen=True, slots=True)
class Mx:
    """Deliver to the domain's MX hosts (RFC 5321 §5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule: `pattern` is a domain, `.domain` for all names below it, or `*`."""

    pattern: str
    to: RouteTo | Mx


_MX = Mx()


def route(domain: Domain, routes: Sequence[Route]) -> RouteTo | Mx:
    """Return where mail for `domain` goes: the most exact route, else its MX hosts."""
    matching = [rule for rule in routes if _matches(rule.pattern, domain)]
    return max(matching, key=_exactness).to if matching else _MX


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """Where mail may go, and how long an answer is kept."""

    port: int = 25  # delivery port of MX hosts
    routes: tuple[Route, ...] = ()
    private_destinations: bool = False  # allow loopback and private addresses (lab)
    own_names: frozenset[str] = frozenset()  # MX hosts that are ourselves
    own_listeners: frozenset[tuple[IpAddress, int]] = frozenset()
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC  # towards MX hosts
    shortest_ttl: timedelta = timedelta(seconds=5)
    longest_ttl: timedelta = timedelta(hours=1)
    cached_domains: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The hosts that take a domain's mail, best preference first; domains with the same
    set of hosts (`name`) share its limits, and those that also rank them alike
    (`ranks`) its connections."""

    name: str
    ranks: str
    groups: tuple[tuple[HopAddress, ...], ...]  # by preference; equal ones are shuffled
    tls: TlsPolicy

    def hops(self, random: Random) -> tuple[HopAddress, ...]:
        """Return the addresses in the order to try them (RFC 5321 §5.1)."""
        ordered: list[HopAddress] = []
        for group in self.groups:
            ordered += random.sample(group, len(group)) if len(group) > 1 else group
        return tuple(ordered)


Destination = Site | Deferred | Failed


class SiteFinder:
    """Destinations by domain, cached: `cached` never waits, `find` looks up."""

    def __init__(
        self, *, resolver: Resolver, clock: Clock, options: ResolveOptions
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._options = options
        self._known: OrderedDict[Domain, tuple[float, Destination]] = OrderedDict()

    def cached(self, domain: Domain) -> Destination | None:
        """Return the destination known and still valid, or None."""
        entry = self._known.get(domain)
        if entry is None or entry[0] <= self._clock.monotonic():
            return None
        return entry[1]

    async def find(self, domain: Domain) -> Destination:
        """Look up, remember and return the destination of `domain`; never raises for
        what DNS can say. Callers ask once at a time for one domain."""
        match route(domain, self._options.routes):
            case RouteTo() as chosen:
                destination, ttl = await self._routed(chosen)
            case Mx():
                destination, ttl = await self._by_mx(domain)
        self._remember(domain, destination, ttl)
        return destination

    def _remember(self, domain: Domain, destination: Destination, ttl: float) -> None:
        bounds = self._options
        longest = bounds.longest_ttl
        if isinstance(destination, Failed):
            longest = _OUTCOME_TTL
        elif isinstance(destination, Deferred):
            longest = _UNANSWERED_TTL
        kept = min(
            max(ttl, bounds.shortest_ttl.total_seconds()), longest.total_seconds()
        )
        self._known[domain] = (self._clock.monotonic() + kept, destination)
        self._known.move_to_end(domain)
        while len(self._known) > bounds.cached_domains:
            self._known.popitem(last=False)

    # ---- by route

    async def _routed(self, to: RouteTo) -> tuple[Destination, float]:
        found = await self._all_addresses([(0, hop) for hop in to.hops], given=True)
        groups = tuple((hop,) for _, hop in found.hops)
        if not groups:
            return found.nothing(), found.ttl
        name = "|".join(str(hop) for hop in to.hops)
        return Site(name=name, ranks=name, groups=groups, tls=to.tls), found.ttl

    # ---- by MX

    async def _by_mx(self, domain: Domain) -> tuple[Destination, float]:
        answer = await self._resolver.lookup(domain, RecordType.MX)
        match answer:
            case Unanswered():
                return _unanswered(f"the MX of {domain}: {answer.cause}"), 0
            case NoName():
                return _no_such_domain(domain), answer.ttl
            case NoData():  # implicit MX: RFC 5321 §5.1
                records: Sequence[MxRecord] = (MxRecord(0, domain),)
            case Found():
                records = [mx for mx in answer.records if isinstance(mx, MxRecord)]
        chosen = choose_hosts(records, self._options.own_names)
        if isinstance(chosen, Failed):
            return chosen, answer.ttl
        return await self._mx_site(chosen, answer.ttl)

    async def _mx_site(
        self, records: Sequence[MxRecord], ttl: int
    ) -> tuple[Destination, float]:
        wanted = [
            (mx.preference, NextHop(host=Domain(mx.host), port=self._options.port))
            for mx in records[:MAX_HOSTS]
        ]
        found = await self._all_addresses(wanted, given=False)
        if not found.hops:
            return found.nothing(), min(ttl, found.ttl)
        groups = _by_preference(found.hops)
        ranked = (",".join(sorted({hop.host for hop in group})) for group in groups)
        site = Site(
            name="|".join(sorted({hop.host for _, hop in found.hops})),
            ranks="|".join(ranked),
            groups=groups,
            tls=self._options.tls,
        )
        return site, min(ttl, found.ttl)

    # ---- addresses

    async def _all_addresses(
        self, wanted: Sequence[tuple[int, NextHop]], *, given: bool
    ) -> "_Addresses":
        async with asyncio.TaskGroup() as looking:
            tasks = [looking.create_task(self._addresses(hop)) for _, hop in wanted]
        found = _Addresses()
        for (preference, hop), task in zip(wanted, tasks, strict=True):
            found.merge(task.result())
            for address in task.result().plain:
                if not given and self._is_forbidden(address, hop.port):
                    found.forbidden = True
                    continue
                target = HopAddress(host=str(hop.host), address=address, port=hop.port)
                found.hops.append((preference, target))
        del found.hops[MAX_ADDRESSES:]
        return found

    async def _addresses(self, hop: NextHop) -> "_Addresses":
        if not isinstance(hop.host, str):
            return _Addresses(plain=[hop.host])
        async with asyncio.TaskGroup() as looking:
            tasks = [
                looking.create_task(self._resolver.lookup(hop.host, kind))
                for kind in (RecordType.AAAA, RecordType.A)
            ]
        found = _Addresses()
        families: list[list[IpAddress]] = [[], []]
        for family, task in zip(families, tasks, strict=True):
            match task.result():
                case Unanswered(cause=cause):
                    found.unanswered = f"the address of {hop.host}: {cause}"
                case Found(records=records, ttl=ttl):
                    found.ttl = min(found.ttl, ttl)
                    family += [a for a in records if not isinstance(a, str | MxRecord)]
                case NoData(ttl=ttl) | NoName(ttl=ttl):
                    found.ttl = min(found.ttl, ttl)
        # by turns, so that a cap never leaves one family out
        turns = zip_longest(*families)
        found.plain = [a for turn in turns for a in turn if a is not None]
        return found

    def _is_forbidden(self, address: IpAddress, port: int) -> bool:
        address = _plain(address)
        if (address, port) in self._options.own_listeners:
            return True
        if address.is_unspecified or address.is_multicast:
            return True
        is_local = isinstance(address, IPv6Address) and address.is_site_local
        is_public = address.is_global and not is_local
        return not (is_public or self._options.private_destinations)


def _plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for (mapped, compatible, 6to4, NAT64 of
    RFC 6052): a gateway would lead there."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


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


@dataclass(slots=True)
class _Addresses:
    """What address look-ups brought, summed up over hosts."""

    plain: list[IpAddress]
    hops: list[tuple[int, HopAddress]]
    unanswered: str
    forbidden: bool
    ttl: float

    def __init__(self, plain: Iterable[IpAddress] = ()) -> None:
        self.plain = list(plain)
        self.hops = []
        self.unanswered = ""
        self.forbidden = False
        self.ttl = float("inf")

    def merge(self, other: "_Addresses") -> None:
        self.unanswered = self.unanswered or other.unanswered
        self.ttl = min(self.ttl, other.ttl)

    def nothing(self) -> Deferred | Failed:
        """Why there is no address: not knowing comes before knowing of none."""
        if self.unanswered:
            return _unanswered(self.unanswered)
        if self.forbidden:
            return _LOOP
        return _no_hosts("none of its mail hosts has an address")


def _by_preference(
    hops: Iterable[tuple[int, HopAddress]],
) -> tuple[tuple[HopAddress, ...], ...]:
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


def _no_such_domain(domain: Domain) -> Failed:
    text = f"the domain {domain} does not exist"
    return _failed(550, "5.1.2", text, Reason.DNS_PERMANENT)


def _no_hosts(cause: str) -> Failed:
    text = f"the recipient's domain takes no mail: {cause}"
    return _failed(550, "5.4.4", text, Reason.DNS_PERMANENT)


def _unanswered(what: str) -> Deferred:
    text = f"DNS gave no answer for {what}"
    return Deferred(
        reply=reply(451, "4.4.3", text),
        reason=Reason.DNS_TEMPORARY,
        scope=Scope.SITE,
    )


_REFUSES = "the recipient's domain takes no mail (null MX)"
_NULL_MX = _failed(556, "5.1.10", _REFUSES, Reason.DNS_PERMANENT)  # RFC 7504 §2
_LEADS_BACK = "the recipient's mail hosts lead back to us or to a private address"
_LOOP = _failed(554, "5.4.6", _LEADS_BACK, Reason.LOOP)


def _matches(pattern: str, domain: Domain) -> bool:
    if pattern == EVERYTHING:
        return True
    if pattern.startswith("."):
        return domain.endswith(pattern)
    return domain == pattern


def _exactness(rule: Route) -> tuple[bool, int]:
    is_exact = rule.pattern != EVERYTHING and not rule.pattern.startswith(".")
    return (is_exact, len(rule.pattern))


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    if text.count(":") > 1:  # an IPv6 address without a port
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PORT):
        raise FormatError(f"{text[:20]!r} is not a port: 1 to {MAX_PORT}")
    return int(text)
