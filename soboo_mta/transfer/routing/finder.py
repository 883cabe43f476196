"""Where mail for a domain goes: by the configured routes, else by its MX records.

A `Site` is the hosts to connect to, found by MX and address look-ups and cached by TTL;
nothing here connects. What the answers mean is decided in `hosts`. RFC 5321 §5.1.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from random import Random

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.outcome import Deferred, Failed
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
from soboo_mta.transfer.routing.hosts import (
    Addresses,
    by_preference,
    choose_hosts,
    is_nowhere,
    is_private,
    no_such_domain,
    plain_address,
    unanswered_look_up,
)
from soboo_mta.transfer.routing.rules import NextHop, Route, RouteTo, route

MAX_ADDRESSES = 5  # a site with 200 MX hosts must not cost 200 connections (case 116)
MAX_HOSTS = 8  # hosts whose addresses are asked for
_OUTCOME_TTL = timedelta(minutes=5)  # "there is none" may be mended
_UNANSWERED_TTL = timedelta(seconds=30)  # case 120: no cached SERVFAIL for longer


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
Goal = Domain | RouteTo
"""What a destination is found for."""


class SiteFinder:
    """Destinations by domain, cached: `cached` never waits, `find` looks up."""

    def __init__(
        self, *, resolver: Resolver, clock: Clock, options: ResolveOptions
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._options = options
        self._known: OrderedDict[Goal, tuple[float, Destination]] = OrderedDict()

    def cached(self, goal: Goal) -> Destination | None:
        """Return the destination known and still valid, or None."""
        entry = self._known.get(goal)
        if entry is None or entry[0] <= self._clock.monotonic():
            return None
        return entry[1]

    async def find(self, goal: Goal) -> Destination:
        """Look up, remember and return the destination of a domain, or of next hops that
        an operator ordered; never raises for what DNS can say. Callers ask once at a
        time for one goal."""
        way = goal if isinstance(goal, RouteTo) else route(goal, self._options.routes)
        if isinstance(way, RouteTo):
            destination, ttl = await self._routed(way)
        else:
            assert not isinstance(goal, RouteTo)  # it would be the way itself
            destination, ttl = await self._by_mx(goal)
        self._remember(goal, destination, ttl)
        return destination

    def _remember(self, goal: Goal, destination: Destination, ttl: float) -> None:
        bounds = self._options
        longest = bounds.longest_ttl
        if isinstance(destination, Failed):
            longest = _OUTCOME_TTL
        elif isinstance(destination, Deferred):
            longest = _UNANSWERED_TTL
        kept = min(
            max(ttl, bounds.shortest_ttl.total_seconds()), longest.total_seconds()
        )
        self._known[goal] = (self._clock.monotonic() + kept, destination)
        self._known.move_to_end(goal)
        while len(self._known) > bounds.cached_domains:
            self._known.popitem(last=False)

    # ---- by route

    async def _routed(self, to: RouteTo) -> tuple[Destination, float]:
        found = await self._all_addresses([(0, hop) for hop in to.hops], given=True)
        groups = tuple((hop,) for _, hop in found.hops)
        if not groups:
            return found.nothing(), found.ttl
        return Site(name=to.name, ranks=to.name, groups=groups, tls=to.tls), found.ttl

    # ---- by MX

    async def _by_mx(self, domain: Domain) -> tuple[Destination, float]:
        answer = await self._resolver.lookup(domain, RecordType.MX)
        match answer:
            case Unanswered():
                return unanswered_look_up(f"the MX of {domain}: {answer.cause}"), 0
            case NoName():
                return no_such_domain(domain), answer.ttl
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
        groups = by_preference(found.hops)
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
    ) -> Addresses:
        async with asyncio.TaskGroup() as looking:
            tasks = [looking.create_task(self._addresses(hop)) for _, hop in wanted]
        found = Addresses()
        for (preference, hop), task in zip(wanted, tasks, strict=True):
            found.merge(task.result())
            for address in task.result().plain:
                target = HopAddress(host=str(hop.host), address=address, port=hop.port)
                if not given and self._is_forbidden(address, hop.port):
                    found.forbidden = found.forbidden or str(target)
                    continue
                found.hops.append((preference, target))
        del found.hops[MAX_ADDRESSES:]
        return found

    async def _addresses(self, hop: NextHop) -> Addresses:
        if not isinstance(hop.host, str):
            return Addresses(plain=[hop.host])
        async with asyncio.TaskGroup() as looking:
            tasks = [
                looking.create_task(self._resolver.lookup(hop.host, kind))
                for kind in (RecordType.AAAA, RecordType.A)
            ]
        found = Addresses()
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
        address = plain_address(address)
        if (address, port) in self._options.own_listeners or is_nowhere(address):
            return True
        return is_private(address) and not self._options.private_destinations
