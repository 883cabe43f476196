"""A name server written to by dynamic updates (RFC 2136), signed by TSIG (RFC 8945).

Reads by zone transfer, name by name where the server refuses that. Each update depends on
the SOA that was read, so two writers can't interleave. A zone that is not there is made by
the operator's own command: no protocol of DNS does that.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from soboo_mta.identity.zones.zone import NAME_SERVER_TTL
from soboo_mta.identity.zones.zone_text import zone_file
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.dns.questions import Server, shortened
from soboo_mta.net.name_servers.command import run_command
from soboo_mta.net.name_servers.wire import (
    SOA,
    absolute,
    content_of,
    rdata_of,
    records_of,
    value_of,
)
from soboo_mta.ports import (
    NameServerError,
    NotServed,
    RecordType,
    ServedZone,
    ZoneChange,
    ZoneMoved,
    ZoneRecord,
)

_KINDS = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT")
_SERIALS = 2**32
_Kinds = tuple[type[Exception], ...]
# Knot calls a key unknown that may not do this; a wrong one, every further question shows.
_TRANSFER_REFUSED = (dns.xfr.TransferError, dns.tsig.PeerBadKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class TsigKey:
    """A secret shared with the server (RFC 8945 §4.2); `secret` is base64."""

    name: DnsName
    secret: str
    algorithm: str = "hmac-sha256"

    def __repr__(self) -> str:
        return f"TsigKey({self.name}, ****)"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """Where updates go, and how."""

    server: Server
    """Address and port of the primary."""
    key: TsigKey
    """Signs every question and every update."""
    host_master: DnsName
    """For the SOA of a new zone: hostmaster.esp.example, a mailbox with a dot for @."""
    create: tuple[str, ...] = ()
    """Makes a zone: a command with {zone} and {file}, its first content."""
    withdraw: tuple[str, ...] = ()
    """Takes a zone away: a command with {zone}."""
    timeout: timedelta = timedelta(seconds=10)
    """For one exchange; a whole transfer has three times as long."""
    records_at_once: int = 200
    """Changes in one message: 64 KB hold 200 of the longest keys."""


class UpdateServer:
    """A `NameServer` by RFC 2136."""

    def __init__(self, options: UpdateOptions) -> None:
        key = options.key
        self._options = options
        self._key = dns.tsig.Key(key.name, key.secret, f"{key.algorithm}.")

    async def read(
        self, zone: DnsName, names: Sequence[DnsName]
    ) -> ServedZone | NotServed:
        """As `NameServer.read`."""
        soa = await self._soa(zone)
        if soa is None:
            return NotServed()
        try:
            return await self._transfer(zone)
        except _TRANSFER_REFUSED:  # the zone itself is there
            return await self._each(zone, names, soa.serial)

    async def create(
        self, zone: DnsName, name_servers: Sequence[DnsName], *, serial: int
    ) -> None:
        """As `NameServer.create`, by the operator's command."""
        if not self._options.create:
            raise NameServerError(
                f"the server has no zone {zone}, and no command is set to create one"
            )
        text = zone_file(
            (),
            origin=zone,
            name_servers=name_servers,
            host_master=self._options.host_master,
            serial=serial,
            ttl=NAME_SERVER_TTL,
        )
        with TemporaryDirectory(prefix="soboo-zone-") as place:
            file = Path(place) / f"{zone}.zone"
            file.write_text(text)
            file.parent.chmod(0o755)  # the name server is another user
            places = {"zone": zone, "file": str(file)}
            await run_command(self._options.create, places)

    async def apply(self, change: ZoneChange, *, seen: int, serial: int) -> None:
        """As `NameServer.apply`. A large change is several messages: a failure between
        them leaves what the next look finds."""
        for position, part in enumerate(self._parts(change)):
            soa = await self._soa(change.zone)
            if soa is None:
                raise NameServerError(f"the server has no zone {change.zone}")
            if position == 0 and soa.serial != seen:
                raise ZoneMoved(f"{change.zone} has serial {soa.serial}, not {seen}")
            rise = serial if position == 0 else (soa.serial + 1) % _SERIALS
            await self._update(part, soa, rise)

    async def withdraw(self, zone: DnsName) -> None:
        """As `NameServer.withdraw`, by the operator's command."""
        if await self._soa(zone) is None:
            return
        if not self._options.withdraw:
            raise NameServerError(
                f"zone {zone} is to go, and no command is set to withdraw one"
            )
        await run_command(self._options.withdraw, {"zone": zone})

    # ---- reading

    async def _soa(self, zone: DnsName) -> SOA | None:
        try:
            reply = await self._ask(zone, "SOA")
        except _Unsigned:
            # Knot signs no refusal for a zone that it has not; one that it has, it signs.
            reply = await self._ask(zone, "SOA", signed=False)
            if reply.rcode() not in (dns.rcode.REFUSED, dns.rcode.NOTAUTH):
                raise
            return None
        for rrset in reply.answer:
            is_own = rrset.name == absolute(zone) and rrset.rdtype == dns.rdatatype.SOA
            if is_own and reply.flags & dns.flags.AA and isinstance(rrset[0], SOA):
                return rrset[0]
        if reply.rcode() == dns.rcode.SERVFAIL:
            raise NameServerError(f"{self._at} answers SERVFAIL for zone {zone}")
        return None

    async def _transfer(self, zone: DnsName) -> ServedZone:
        held = dns.zone.Zone(absolute(zone), relativize=False)
        query = dns.message.make_query(absolute(zone), "AXFR")
        query.use_tsig(self._key)
        address, port = self._options.server
        seconds = self._options.timeout.total_seconds()
        with self._mapped(f"transfer of {zone}", _TRANSFER_REFUSED):
            await dns.asyncquery.inbound_xfr(
                str(address),
                held,
                query,
                port=port,
                timeout=seconds,
                lifetime=3 * seconds,
            )
        serial, records = content_of(held)
        return ServedZone(serial=serial, records=records)

    async def _each(
        self, zone: DnsName, names: Sequence[DnsName], serial: int
    ) -> ServedZone:
        found: list[ZoneRecord] = []
        for name in names:
            for kind in _KINDS:
                if rrset := await self._rrset(name, kind):
                    found += records_of(rrset.name, rrset.to_rdataset())
        return ServedZone(serial=serial, records=tuple(sorted(found)), is_whole=False)

    async def _rrset(self, name: DnsName, kind: str) -> dns.rrset.RRset | None:
        reply = await self._ask(name, kind)
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            said = dns.rcode.to_text(reply.rcode())
            raise NameServerError(f"{self._at} answers {said} for {name} {kind}")
        for rrset in reply.answer:
            is_asked = rrset.rdtype == dns.rdatatype.from_text(kind)
            if is_asked and rrset.name == absolute(name):
                return rrset
        return None

    # ---- writing

    def _parts(self, change: ZoneChange) -> Iterator[ZoneChange]:
        """What happens at one name stays in one message."""
        bound = self._options.records_at_once
        held: list[DnsName] = []
        size = 0
        touched = Counter(one.owner for one in (*change.removed, *change.added))
        for name, count in sorted(touched.items()):
            size += count
            if held and size > bound:
                yield _at_names(change, frozenset(held))
                held, size = [], count
            held.append(name)
        if held:
            yield _at_names(change, frozenset(held))

    async def _update(self, part: ZoneChange, soa: SOA, serial: int) -> None:
        zone = absolute(part.zone)
        update = dns.update.UpdateMessage(zone)
        update.present(zone, soa)  # RFC 2136 §2.4.2: the zone is as it was read
        for record in part.removed:
            for rdata in await self._as_served(record):
                update.delete(absolute(record.owner), rdata)
        for record in part.added:
            update.add(absolute(record.owner), record.ttl, rdata_of(record))
        update.add(zone, soa.minimum, soa.replace(serial=serial))
        update.use_tsig(self._key)
        reply = await self._exchange(update, f"update of {part.zone}")
        self._judge(reply.rcode(), part.zone)

    async def _as_served(self, record: ZoneRecord) -> tuple[dns.rdata.Rdata, ...]:
        """A text is removed in the very pieces that the server holds it in."""
        if record.kind != RecordType.TXT:
            return (rdata_of(record),)
        rrset = await self._rrset(record.owner, record.kind)
        return tuple(one for one in rrset or () if value_of(one) == record.value)

    def _judge(self, rcode: dns.rcode.Rcode, zone: DnsName) -> None:
        if rcode == dns.rcode.NOERROR:
            return
        if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET):
            raise ZoneMoved(f"{zone} was changed by another writer")
        said = dns.rcode.to_text(rcode)
        key = self._options.key.name
        hint = f"; may the key {key} update it?" if said in _FORBIDDEN else ""
        raise NameServerError(f"{self._at} answers {said} to an update of {zone}{hint}")

    # ---- exchange

    @property
    def _at(self) -> str:
        return f"the name server {self._options.server[0]}"

    async def _ask(
        self, name: DnsName, kind: str, *, signed: bool = True
    ) -> dns.message.Message:
        query = dns.message.make_query(absolute(name), kind, flags=0)
        if signed:
            query.use_tsig(self._key)
        return await self._exchange(query, f"{kind} {name}")

    async def _exchange(
        self, query: dns.message.Message, about: str
    ) -> dns.message.Message:
        address, port = self._options.server
        with self._mapped(about):
            return await dns.asyncquery.tcp(
                query,
                str(address),
                port=port,
                timeout=self._options.timeout.total_seconds(),
            )

    def _mapped(self, about: str, passed_on: _Kinds = ()) -> "_Mapped":
        return _Mapped(f"{self._at}, {about}", self._options.key.name, passed_on)


_FORBIDDEN = ("REFUSED", "NOTAUTH")


class _Unsigned(NameServerError):
    """The reply to a signed question is not signed (RFC 8945 §5.3)."""


class _Mapped:
    """Turns the library's errors into ours, but for those `passed_on`."""

    def __init__(self, about: str, key: str, passed_on: _Kinds) -> None:
        self._about = about
        self._key = key
        self._passed_on = passed_on

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, self._passed_on):
            return
        match error:
            case dns.tsig.PeerError() | dns.tsig.BadSignature() | dns.tsig.BadTime():
                said = f"does not accept the TSIG key {self._key}: {error}"
            case dns.exception.FormError():  # the library's word for a missing TSIG, too
                raise _Unsigned(shortened(f"{self._about}: {error}")) from error
            case dns.exception.DNSException() | OSError() | EOFError():
                said = str(error) or type(error).__name__
            case _:
                return
        raise NameServerError(shortened(f"{self._about}: {said}")) from error


def _at_names(change: ZoneChange, names: frozenset[DnsName]) -> ZoneChange:
    return ZoneChange(
        zone=change.zone,
        removed=tuple(one for one in change.removed if one.owner in names),
        added=tuple(one for one in change.added if one.owner in names),
    )
