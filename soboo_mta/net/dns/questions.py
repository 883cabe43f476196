"""Questions to DNS servers by dnspython, and their answers in our words (RFC 1035, 2308).

Its answers and exceptions end here and in `authority`: nothing above knows its names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TXT
import dns.resolver

from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import MAX_CHAIN as MAX_CHAIN
from soboo_mta.ports import (
    Answer,
    Found,
    IpAddress,
    MxRecord,
    NoData,
    NoName,
    Record,
    RecordType,
    Unanswered,
)

Server = tuple[IpAddress, int]
_IMPOSSIBLE_NAME_TTL = 3_600
_PAYLOAD = 1232  # octets; dnsflagday.net/2020: no fragments
_MAX_CAUSE = (
    280  # characters of what the library says; it repeats itself for each server
)


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


@dataclass(frozen=True, slots=True)
class Step:
    """One server's answer; `is_open` when it ends in a CNAME that it did not follow.
    `is_silence`: no server said anything, not even that it can't answer."""

    answer: Answer
    is_open: bool = False
    is_authoritative: bool = False
    is_silence: bool = False


async def follow(
    name: str, kind: RecordType, ask: Callable[[str, RecordType], Awaitable[Step]]
) -> Answer:
    """Ask until the CNAME chain ends (recursive servers mostly follow it themselves)."""
    chain: tuple[DnsName, ...] = ()
    ttl = _IMPOSSIBLE_NAME_TTL * 24
    target, server = name, ""
    while True:
        step = await ask(target, kind)
        server = server or step.answer.server
        if isinstance(step.answer, Unanswered):
            return replace(step.answer, server=server)
        chain = (*chain, *step.answer.chain)
        ttl = min(ttl, step.answer.ttl)
        if len(chain) > MAX_CHAIN:
            return Unanswered(
                cause=f"the CNAME chain of {name} is over {MAX_CHAIN}", server=server
            )
        if not step.is_open:
            return replace(step.answer, chain=chain, ttl=ttl, server=server)
        target = chain[-1]


def system_servers() -> tuple[Server, ...]:
    """The recursive servers of /etc/resolv.conf."""
    stub = dns.asyncresolver.Resolver()
    return tuple((ip_address(str(one)), stub.port) for one in stub.nameservers)


def stub_of(
    options: ResolverOptions, servers: tuple[Server, ...]
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
    stub.use_edns(0, 0, _PAYLOAD)
    return stub


async def exchange(
    server: Server,
    name: str,
    kind: str,
    options: ResolverOptions,
    *,
    flags: int = 0,
    with_keys: bool = False,
) -> dns.message.Message | Unanswered:
    """Send one question to one server and return its whole message; `with_keys`: what
    DNSSEC adds is wanted too."""
    try:
        query = dns.message.make_query(
            name, kind, use_edns=0, want_dnssec=with_keys, payload=_PAYLOAD, flags=flags
        )
        message, _ = await dns.asyncquery.udp_with_fallback(
            query,
            str(server[0]),
            port=server[1],
            timeout=options.timeout.total_seconds(),
        )
    except (dns.exception.DNSException, UnicodeError, OSError) as error:
        cause = f"{kind} {name} at {server[0]}: {error or type(error).__name__}"
        return Unanswered(cause=shortened(cause))
    return message


async def asked_in_turn(
    servers: tuple[Server, ...], name: str, kind: RecordType, options: ResolverOptions
) -> Step:
    """Ask servers of a zone without recursion, one after another and all of them twice,
    until one says what is there."""
    if not _is_possible(name):
        return Step(NoName(chain=(), ttl=_IMPOSSIBLE_NAME_TTL))
    silence = f"{kind.value} {name}: no server is known"
    try:
        async with asyncio.timeout(options.lifetime.total_seconds()):
            for server in servers * 2:
                reply = await exchange(server, name, kind.value, options)
                if isinstance(reply, Unanswered):
                    silence = reply.cause
                elif reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    exists = reply.rcode() == dns.rcode.NOERROR
                    step = _read(reply, kind, exists=exists)
                    said_by = replace(step.answer, server=str(server[0]))
                    return replace(step, answer=said_by)
                else:
                    said = dns.rcode.to_text(reply.rcode())
                    silence = f"{kind.value} {name}: {server[0]} answers {said}"
    except TimeoutError:
        silence = f"{silence}; {options.lifetime.total_seconds():g} s are over"
    return Step(Unanswered(cause=shortened(silence)))


def _is_possible(name: str) -> bool:
    """Empty or over-long labels: no zone can hold such a name."""
    try:
        dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        return False
    return True


async def question(
    stub: dns.asyncresolver.Resolver, name: str, kind: RecordType, *, lifetime: float
) -> Step:
    """Ask recursive servers, for `lifetime` seconds in all; nothing came back in that
    time: `is_silence`."""
    if not _is_possible(name):
        return Step(NoName(chain=(), ttl=_IMPOSSIBLE_NAME_TTL))
    asked = dns.name.from_text(name)
    try:
        answer = await stub.resolve(
            asked, kind.value, raise_on_no_answer=False, lifetime=lifetime
        )
    except dns.resolver.NXDOMAIN as error:
        response = error.response(asked)  # type: ignore[no-untyped-call]  # dnspython
        return _read(response, kind, exists=False)
    except dns.resolver.LifetimeTimeout:
        servers = ", ".join(
            one if isinstance(one, str) else one.answer_nameserver()
            for one in stub.nameservers
        )
        cause = f"{kind.value} {name}: no answer from {servers} in {lifetime:g} s"
        return Step(Unanswered(cause=shortened(cause)), is_silence=True)
    except dns.exception.DNSException as error:
        return Step(Unanswered(cause=shortened(f"{kind.value} {name}: {error}")))
    return _read(answer.response, kind, exists=True)


def shortened(text: str) -> str:
    """Cut at a word, and marked."""
    words = " ".join(text.split())
    if len(words) <= _MAX_CAUSE:
        return words
    return words[:_MAX_CAUSE].rsplit(" ", 1)[0] + " …"


def _read(response: dns.message.Message, kind: RecordType, *, exists: bool) -> Step:
    if not isinstance(response, dns.message.QueryMessage):
        return Step(Unanswered(cause="the answer is not one to a query"))
    try:
        result = response.resolve_chaining()
    except dns.exception.DNSException as error:
        return Step(Unanswered(cause=f"the answer can't be followed: {error}"))
    chain = tuple(name_of(rrset[0].to_text()) for rrset in result.cnames)
    is_authoritative = bool(response.flags & dns.flags.AA)
    ttl = int(result.minimum_ttl)
    if not exists:
        return Step(NoName(chain=chain, ttl=ttl), False, is_authoritative)
    if result.answer is None:
        is_open = bool(chain) and not _has_soa(response)
        return Step(NoData(chain=chain, ttl=ttl), is_open, is_authoritative)
    records = tuple(_record(rdata, kind) for rdata in result.answer)
    return Step(Found(records=records, chain=chain, ttl=ttl), False, is_authoritative)


def _has_soa(response: dns.message.Message) -> bool:
    """An SOA in the authority section: the end of the chain is a real "no"."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _record(rdata: dns.rdata.Rdata, kind: RecordType) -> Record:
    match rdata:
        case dns.rdtypes.ANY.MX.MX():
            return MxRecord(rdata.preference, name_of(rdata.exchange.to_text()))
        case dns.rdtypes.ANY.TXT.TXT():
            return b"".join(rdata.strings).decode("latin-1")
    if kind in (RecordType.A, RecordType.AAAA):
        return ip_address(rdata.to_text())
    if kind in (RecordType.CAA, RecordType.DS, RecordType.SRV):
        return rdata.to_text()
    return name_of(rdata.to_text())


def name_of(text: str) -> DnsName:
    return DnsName(text.lower().removesuffix("."))
