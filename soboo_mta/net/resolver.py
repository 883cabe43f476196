"""DNS look-ups by dnspython behind the `Resolver` port (RFC 1035, RFC 2308).

Owns the cache and the joining of equal look-ups in flight, and maps the library's answers
and exceptions to ours; nothing above knows its names. `AuthoritativeResolver` asks a
zone's own servers, past the caches in between.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TXT
import dns.resolver

from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import (
    Answer,
    Clock,
    Found,
    IpAddress,
    MxRecord,
    NoData,
    NoName,
    Record,
    RecordType,
    Unanswered,
)

MAX_CHAIN = 8  # CNAMEs followed: a loop must end (RFC 1034 §5.2.2)
_MAX_SERVERS = 4  # of one zone, asked in turn
_IMPOSSIBLE_NAME_TTL = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """How look-ups are made."""

    servers: tuple[tuple[IpAddress, int], ...] = ()
    """Recursive resolvers, address and port; none: those of /etc/resolv.conf."""
    timeout: timedelta = timedelta(seconds=2)
    """For one question to one server."""
    lifetime: timedelta = timedelta(seconds=8)
    """For a look-up over all servers and repeats."""
    entries: int = 20_000
    """Answers kept; the one unused for longest goes first."""
    max_ttl: timedelta = timedelta(hours=1)
    """No answer is kept longer, whatever its TTL."""
    unanswered_ttl: timedelta = timedelta(seconds=10)
    """How long "no answer" is kept (RFC 2308 §7.1 allows 5 minutes); at most 30 s."""
    authoritative_port: int = 53
    """Where a zone's own servers are asked."""


class DnsResolver:
    """A `Resolver` over recursive servers, with a bounded cache by TTL."""

    def __init__(self, *, options: ResolverOptions, clock: Clock) -> None:
        self._options = options
        self._cache = _Cache(options, clock)
        self._in_flight: dict[_Key, asyncio.Future[Answer | None]] = {}
        self._stub: dns.asyncresolver.Resolver | None = None

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`. Equal look-ups in flight are one question."""
        key = (name.lower().removesuffix("."), kind, fresh)
        if not fresh and (known := self._cache.get(key)) is not None:
            return known
        while (pending := self._in_flight.get(key)) is not None:
            # None: whoever asked was cancelled; the next in line asks again.
            if (answer := await asyncio.shield(pending)) is not None:
                return answer
        return await self._ask_for_all(key)

    async def _ask_for_all(self, key: "_Key") -> Answer:
        pending = asyncio.get_running_loop().create_future()
        self._in_flight[key] = pending
        answer: Answer | None = None
        try:
            answer = await _follow(key[0], key[1], self._ask)
            self._cache.put(key, answer)
            return answer
        finally:
            del self._in_flight[key]
            pending.set_result(answer)

    async def _ask(self, name: str, kind: RecordType) -> "_Step":
        if self._stub is None:
            self._stub = _stub(self._options, self._options.servers)
        return await _question(self._stub, name, kind)


class AuthoritativeResolver:
    """A `Resolver` that asks each zone's own servers, so that no cache is in between.

    The zone and its servers are found through `recursive`. Servers that can't be reached
    or are not authoritative give Unanswered, as a resolver's own failure would.
    """

    def __init__(self, *, recursive: DnsResolver, options: ResolverOptions) -> None:
        self._recursive = recursive
        self._options = options

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`; always fresh."""
        return await _follow(name.lower().removesuffix("."), kind, self._ask)

    async def _ask(self, name: str, kind: RecordType) -> "_Step":
        servers = await self._servers(name)
        if isinstance(servers, Unanswered):
            return _Step(servers)
        stub = _stub(self._options, servers)
        stub.flags = 0  # no recursion desired
        step = await _question(stub, name, kind)
        if not isinstance(step.answer, Unanswered) and not step.is_authoritative:
            return _Step(Unanswered(cause=f"no authoritative answer for {name}"))
        return step

    async def _servers(self, name: str) -> "tuple[_Server, ...] | Unanswered":
        """The servers of the zone that `name` is in; or why none is known: our resolver
        is silent, which says nothing of the zone, or there is no such zone."""
        labels = name.split(".")
        for cut in range(len(labels)):
            answer = await self._recursive.lookup(".".join(labels[cut:]), RecordType.NS)
            if isinstance(answer, Unanswered):
                return Unanswered(
                    cause=f"our own resolver gives no answer: {answer.cause}"
                )
            # NS behind a CNAME are those of another zone.
            if isinstance(answer, Found) and not answer.chain:
                return await self._addresses(answer)
        return Unanswered(cause=f"no zone that {name} could be in is delegated")

    async def _addresses(self, servers: Found) -> "tuple[_Server, ...] | Unanswered":
        found: list[IpAddress] = []
        for host in servers.records[:_MAX_SERVERS]:
            for kind in (RecordType.A, RecordType.AAAA):
                answer = await self._recursive.lookup(str(host), kind)
                if isinstance(answer, Found):
                    found += [
                        record
                        for record in answer.records
                        if not isinstance(record, str | MxRecord)
                    ]
        if not found:
            named = ", ".join(map(str, servers.records[:_MAX_SERVERS]))
            return Unanswered(
                cause=f"no address was found of its name servers: {named}"
            )
        return tuple((address, self._options.authoritative_port) for address in found)


# ---- the cache


_Key = tuple[str, RecordType, bool]
_Server = tuple[IpAddress, int]
_MAX_CAUSE = (
    280  # characters of what the library says; it repeats itself for each server
)


class _Cache:
    """Answers by name and type until their TTL ends; least recently used go first."""

    def __init__(self, options: ResolverOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._held: OrderedDict[tuple[str, RecordType], tuple[float, Answer]] = (
            OrderedDict()
        )

    def get(self, key: _Key) -> Answer | None:
        place = key[:2]
        held = self._held.get(place)
        if held is None:
            return None
        if held[0] <= self._clock.monotonic():
            del self._held[place]
            return None
        self._held.move_to_end(place)
        return held[1]

    def put(self, key: _Key, answer: Answer) -> None:
        seconds = self._seconds(answer)
        if seconds <= 0:
            self._held.pop(key[:2], None)
            return
        self._held[key[:2]] = (self._clock.monotonic() + seconds, answer)
        self._held.move_to_end(key[:2])
        while len(self._held) > self._options.entries:
            self._held.popitem(last=False)

    def _seconds(self, answer: Answer) -> float:
        if isinstance(answer, Unanswered):
            return min(self._options.unanswered_ttl.total_seconds(), 30)
        return min(answer.ttl, self._options.max_ttl.total_seconds())


# ---- questions and answers


@dataclass(frozen=True, slots=True)
class _Step:
    """One server's answer; `is_open` when it ends in a CNAME that it did not follow."""

    answer: Answer
    is_open: bool = False
    is_authoritative: bool = False


async def _follow(
    name: str, kind: RecordType, ask: Callable[[str, RecordType], Awaitable[_Step]]
) -> Answer:
    """Ask until the CNAME chain ends (recursive servers mostly follow it themselves)."""
    chain: tuple[DnsName, ...] = ()
    ttl = _IMPOSSIBLE_NAME_TTL * 24
    target = name
    while True:
        step = await ask(target, kind)
        if isinstance(step.answer, Unanswered):
            return step.answer
        chain = (*chain, *step.answer.chain)
        ttl = min(ttl, step.answer.ttl)
        if len(chain) > MAX_CHAIN:
            return Unanswered(cause=f"the CNAME chain of {name} is over {MAX_CHAIN}")
        if not step.is_open:
            return _with_chain(step.answer, chain, ttl)
        target = chain[-1]


def _with_chain(
    answer: Found | NoData | NoName, chain: tuple[DnsName, ...], ttl: int
) -> Answer:
    match answer:
        case Found():
            return Found(records=answer.records, chain=chain, ttl=ttl)
        case NoData():
            return NoData(chain=chain, ttl=ttl)
        case NoName():
            return NoName(chain=chain, ttl=ttl)


def _stub(
    options: ResolverOptions, servers: tuple[tuple[IpAddress, int], ...]
) -> dns.asyncresolver.Resolver:
    stub = dns.asyncresolver.Resolver(configure=not servers)
    if servers:
        stub.nameservers = [
            dns.nameserver.Do53Nameserver(str(address), port)
            for address, port in servers
        ]
    stub.timeout = options.timeout.total_seconds()
    stub.lifetime = options.lifetime.total_seconds()
    stub.search = []
    stub.use_edns(0, 0, 1232)  # dnsflagday.net/2020: no fragments
    return stub


async def _question(
    stub: dns.asyncresolver.Resolver, name: str, kind: RecordType
) -> _Step:
    try:
        asked = dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        # Empty or over-long labels: no zone can hold such a name.
        return _Step(NoName(chain=(), ttl=_IMPOSSIBLE_NAME_TTL))
    try:
        answer = await stub.resolve(asked, kind.value, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN as error:
        response = error.response(asked)  # type: ignore[no-untyped-call]  # dnspython
        return _read(response, kind, exists=False)
    except dns.exception.DNSException as error:
        return _Step(Unanswered(cause=_shortened(f"{kind.value} {name}: {error}")))
    return _read(answer.response, kind, exists=True)


def _shortened(text: str) -> str:
    """Cut at a word, and marked."""
    words = " ".join(text.split())
    if len(words) <= _MAX_CAUSE:
        return words
    return words[:_MAX_CAUSE].rsplit(" ", 1)[0] + " …"


def _read(response: dns.message.Message, kind: RecordType, *, exists: bool) -> _Step:
    if not isinstance(response, dns.message.QueryMessage):
        return _Step(Unanswered(cause="the answer is not one to a query"))
    try:
        result = response.resolve_chaining()
    except dns.exception.DNSException as error:
        return _Step(Unanswered(cause=f"the answer can't be followed: {error}"))
    chain = tuple(_name(rrset[0].to_text()) for rrset in result.cnames)
    is_authoritative = bool(response.flags & dns.flags.AA)
    ttl = int(result.minimum_ttl)
    if not exists:
        return _Step(NoName(chain=chain, ttl=ttl), False, is_authoritative)
    if result.answer is None:
        is_open = bool(chain) and not _has_soa(response)
        return _Step(NoData(chain=chain, ttl=ttl), is_open, is_authoritative)
    records = tuple(_record(rdata, kind) for rdata in result.answer)
    return _Step(Found(records=records, chain=chain, ttl=ttl), False, is_authoritative)


def _has_soa(response: dns.message.Message) -> bool:
    """An SOA in the authority section: the end of the chain is a real "no"."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _record(rdata: dns.rdata.Rdata, kind: RecordType) -> Record:
    match rdata:
        case dns.rdtypes.ANY.MX.MX():
            return MxRecord(rdata.preference, _name(rdata.exchange.to_text()))
        case dns.rdtypes.ANY.TXT.TXT():
            return b"".join(rdata.strings).decode("latin-1")
    if kind in (RecordType.A, RecordType.AAAA):
        return ip_address(rdata.to_text())
    return _name(rdata.to_text())


def _name(text: str) -> DnsName:
    return DnsName(text.lower().removesuffix("."))
