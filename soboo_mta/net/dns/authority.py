"""Look-ups at zones' own servers, past the caches in between.

`AuthoritativeResolver` is a `Resolver` that asks them; `DnsAuthority` says what each server
and the parent zone say, which is how a fault in a delegation is told from one in a record.
"""

import asyncio
from dataclasses import dataclass, replace
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from soboo_mta.mail.domain import DnsName
from soboo_mta.net.dns.questions import (
    ResolverOptions,
    Server,
    Step,
    asked_in_turn,
    exchange,
    follow,
    name_of,
    system_servers,
)
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.ports import (
    Answer,
    Delegation,
    Found,
    IpAddress,
    RecordType,
    ServerAnswer,
    Unanswered,
)

_MAX_SERVERS = 4  # of one zone
_LONGEST_KNOWN = (
    3_600  # seconds that a zone's servers are asked without a look at its NS
)


@dataclass(frozen=True, slots=True)
class _NameServer:
    """A server of a zone; `addresses` may be none: then it is lame."""

    name: DnsName
    addresses: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class _Zone:
    """A zone's servers, good until then (monotonic seconds)."""

    servers: tuple[_NameServer, ...]
    until: float


class _Zones:
    """Finds the servers of the zone that a name is in, and remembers zones."""

    def __init__(self, recursive: DnsResolver, options: ResolverOptions) -> None:
        self._recursive = recursive
        self._port = options.authoritative_port
        self._entries = options.entries
        self._known: dict[str, _Zone] = {}

    def nearest(self, name: str) -> tuple[_NameServer, ...] | None:
        """Return the servers of the lowest zone above `name` that is known: its own, or
        one whose servers refer to it."""
        now = self._recursive.clock.monotonic()
        while name:
            known = self._known.get(name)
            if known is not None and now < known.until:
                return known.servers
            name = name.partition(".")[2]
        return None

    def _remember(
        self, name: str, servers: tuple[_NameServer, ...] | Unanswered, ttl: int
    ) -> None:
        if isinstance(servers, Unanswered):
            return
        if len(self._known) >= self._entries:
            del self._known[next(iter(self._known))]
        until = self._recursive.clock.monotonic() + min(ttl, _LONGEST_KNOWN)
        self._known[name] = _Zone(servers, until)

    async def servers_of(self, name: str) -> tuple[_NameServer, ...] | Unanswered:
        """Return the servers; or why none is known: our resolver is silent, which says
        nothing of the zone, or there is no such zone."""
        labels = name.split(".")
        for cut in range(len(labels)):
            at = ".".join(labels[cut:])
            answer = await self._recursive.lookup(at, RecordType.NS)
            if isinstance(answer, Unanswered):
                if await self._is_alias(at):
                    continue  # what it leads to is silent, not the zone it is in
                return Unanswered(
                    cause=f"our own resolver gives no answer: {answer.cause}"
                )
            # NS behind a CNAME are those of another zone.
            if isinstance(answer, Found) and not answer.chain:
                servers = await self._located(answer)
                self._remember(at, servers, answer.ttl)
                return servers
        return Unanswered(cause=f"no zone that {name} could be in is delegated")

    async def _is_alias(self, name: str) -> bool:
        answer = await self._recursive.lookup(name, RecordType.CNAME)
        return isinstance(answer, Found)

    async def _located(self, servers: Found) -> tuple[_NameServer, ...] | Unanswered:
        hosts = [DnsName(str(host)) for host in servers.records[:_MAX_SERVERS]]
        found = [_NameServer(host, await self.addresses(host)) for host in hosts]
        if not any(one.addresses for one in found):
            return Unanswered(
                cause=f"no address was found of its name servers: {', '.join(hosts)}"
            )
        return tuple(found)

    async def addresses(self, host: DnsName) -> tuple[Server, ...]:
        """Return where a name server listens; none where nothing is found."""
        found: list[IpAddress] = []
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._recursive.lookup(host, kind)
            if isinstance(answer, Found):
                found += [one for one in answer.records if isinstance(one, IpAddress)]
        return tuple((address, self._port) for address in found)


class AuthoritativeResolver:
    """A `Resolver` that asks each zone's own servers, so that no cache is in between.

    The zone and its servers are found through `recursive`. Servers that can't be reached
    or are not authoritative give Unanswered, as a resolver's own failure would.
    """

    def __init__(self, *, recursive: DnsResolver, options: ResolverOptions) -> None:
        self._zones = _Zones(recursive, options)
        self._options = options

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`; always fresh."""
        return await follow(name.lower().removesuffix("."), kind, self._ask)

    async def _ask(self, name: str, kind: RecordType) -> Step:
        # Most names are in a zone that is known: one question instead of one a label.
        nearest, step = self._zones.nearest(name), None
        if nearest is not None:
            step = await asked_in_turn(_addresses(nearest), name, kind, self._options)
            if step.is_authoritative:
                return step
        servers = await self._zones.servers_of(name)
        if isinstance(servers, Unanswered):
            return Step(servers)
        if step is not None and servers == nearest:
            return _with_authority(step, name)  # nobody else is to be asked
        return await _asked(_addresses(servers), name, kind, self._options)


class DnsAuthority:
    """An `Authority` that finds zones and validating resolvers through `recursive`."""

    def __init__(self, *, recursive: DnsResolver, options: ResolverOptions) -> None:
        self._zones = _Zones(recursive, options)
        self._options = options

    async def each(
        self, name: str, kind: RecordType
    ) -> tuple[ServerAnswer, ...] | Unanswered:
        """As `Authority.each`; a server that is known by name alone is Unanswered."""
        servers = await self._zones.servers_of(name)
        if isinstance(servers, Unanswered):
            servers = await self._referred(name) or servers
        if isinstance(servers, Unanswered):
            return servers

        async def one(server: _NameServer) -> ServerAnswer:
            if not server.addresses:
                cause = f"the name server {server.name} has no address"
                return ServerAnswer(server.name, Unanswered(cause=cause))
            step = await _asked(server.addresses, name, kind, self._options)
            return ServerAnswer(server.name, step.answer)

        return tuple(await asyncio.gather(*map(one, servers)))

    async def delegation(self, zone: str) -> Delegation | Unanswered:
        """As `Authority.delegation`: the first server of the zone above that answers."""
        found = await self._referral(zone)
        if isinstance(found, Unanswered):
            return found
        names = tuple(server.name for server in found.servers)
        keys = await self._have_keys(found) if found.has_ds else None
        return Delegation(names, has_ds=found.has_ds, has_keys=keys, server=found.asked)

    async def _referral(self, zone: str) -> "_Referral | Unanswered":
        """What the zone above says of `zone`, and where the servers listen."""
        servers = await self._zones.servers_of(zone.partition(".")[2])
        if isinstance(servers, Unanswered):
            return servers
        silence = Unanswered(cause=f"no server of the zone above {zone} answers")
        for address in _addresses(servers):
            reply = await exchange(address, zone, "NS", self._options, with_keys=True)
            if isinstance(reply, Unanswered):
                silence = reply
            elif reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                found = replace(_referral_in(reply, zone), asked=str(address[0]))
                return await self._located(found)
        return silence

    async def _located(self, referral: "_Referral") -> "_Referral":
        """With the addresses of servers that came without glue."""
        servers = [
            one
            if one.addresses
            else replace(one, addresses=await self._zones.addresses(one.name))
            for one in referral.servers
        ]
        at = self._options.authoritative_port
        return replace(
            referral,
            servers=tuple(
                replace(one, addresses=tuple((host, at) for host, _ in one.addresses))
                for one in servers
            ),
        )

    async def _referred(self, name: str) -> tuple[_NameServer, ...]:
        """The servers that the zones above lead to, where our resolver tells nothing of
        the name's zone: it refuses what is lame or badly signed."""
        while "." in name:
            found = await self._referral(name)
            if not isinstance(found, Unanswered) and found.servers:
                return found.servers
            name = name.partition(".")[2]
        return ()

    async def _have_keys(self, referral: "_Referral") -> bool | None:
        """Whether the first server below that answers has a DNSKEY."""
        for address in _addresses(referral.servers):
            reply = await exchange(address, referral.zone, "DNSKEY", self._options)
            if not isinstance(reply, Unanswered):
                wanted = dns.name.from_text(referral.zone), dns.rdatatype.DNSKEY
                return any((one.name, one.rdtype) == wanted for one in reply.answer)
        return None

    async def is_bogus(self, name: str, kind: RecordType) -> bool:
        """As `Authority.is_bogus`; False where no resolver validates."""
        for server in self._options.servers or system_servers():
            plain = await exchange(
                server, name, kind.value, self._options, flags=dns.flags.RD
            )
            if not _has_failed(plain):
                continue
            flags = dns.flags.RD | dns.flags.CD  # RFC 4035 §3.2.2: not validated
            unchecked = await exchange(
                server, name, kind.value, self._options, flags=flags
            )
            if not isinstance(unchecked, Unanswered) and not _has_failed(unchecked):
                return True
        return False


def _addresses(servers: tuple[_NameServer, ...]) -> tuple[Server, ...]:
    return tuple(address for one in servers for address in one.addresses)


async def _asked(
    servers: tuple[Server, ...], name: str, kind: RecordType, options: ResolverOptions
) -> Step:
    return _with_authority(await asked_in_turn(servers, name, kind, options), name)


def _with_authority(step: Step, name: str) -> Step:
    if not isinstance(step.answer, Unanswered) and not step.is_authoritative:
        return Step(Unanswered(cause=f"no authoritative answer for {name}"))
    return step


@dataclass(frozen=True, slots=True)
class _Referral:
    """What a zone's parent says of it; no servers: it is not delegated."""

    zone: str
    servers: tuple[_NameServer, ...]
    has_ds: bool
    asked: str = ""  # the address of the parent's server


def _referral_in(reply: dns.message.Message, zone: str) -> _Referral:
    """A referral has the NS in its authority section; a server of both zones answers."""
    owner = dns.name.from_text(zone)
    of_zone = [one for one in (*reply.answer, *reply.authority) if one.name == owner]
    hosts = dict.fromkeys(
        name_of(record.to_text())
        for rrset in of_zone
        if rrset.rdtype == dns.rdatatype.NS
        for record in rrset
    )
    servers = tuple(_NameServer(host, _glue(reply, host)) for host in hosts)
    has_ds = any(one.rdtype == dns.rdatatype.DS for one in of_zone)
    return _Referral(zone, servers, has_ds)


def _glue(reply: dns.message.Message, host: DnsName) -> tuple[Server, ...]:
    """The addresses of a server that came along; the port is not said."""
    owner = dns.name.from_text(host)
    return tuple(
        (ip_address(record.to_text()), 0)
        for rrset in reply.additional
        if rrset.name == owner and rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        for record in rrset
    )


def _has_failed(reply: dns.message.Message | Unanswered) -> bool:
    return not isinstance(reply, Unanswered) and reply.rcode() == dns.rcode.SERVFAIL
