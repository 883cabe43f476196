"""The customer's own records in a zone delegated to us: parsed, bounded, kept apart.

Pure. A record that would change what ours say is refused, never merged; a CNAME stands
alone at its name (RFC 1034 §3.6.2, RFC 2181 §10.1).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType, ZoneRecord

MAX_EXTRA = 100  # a zone is read whole at each look for drift
_MAX_TEXT = 2_048  # octets of one TXT: more makes resolvers turn to TCP, or give up
DEFAULT_TTL = 3_600  # seconds
_MIN_TTL, _MAX_TTL = 60, 86_400
_CAA = re.compile(r'(?:0|128) (?:issue|issuewild|iodef) "[\x21\x23-\x5b\x5d-\x7e ]*"')
_NUMBER = re.compile(r"[0-9]{1,5}")
_MAX_NUMBER = 65_535


def extra_record(
    name: str, kind: str, value: str, *, zone: DnsName, ttl: int = DEFAULT_TTL
) -> ZoneRecord:
    """Return one record in its normal form; `name` is full, or `@` for the zone.

    Raises FormatError, fit for the customer to read.
    """
    owner = zone if name == "@" else DnsName.parse(name)
    if owner != zone and not owner.is_below(zone):
        raise FormatError(f"{owner} does not lie in the zone {zone}")
    if not _MIN_TTL <= ttl <= _MAX_TTL:
        raise FormatError(f"a TTL is {_MIN_TTL} to {_MAX_TTL} seconds, not {ttl}")
    read = _READERS.get(kind.upper())
    if read is None:
        raise FormatError(
            f"a record of your own is one of {', '.join(_READERS)}, not {kind[:20]!r}"
        )
    return ZoneRecord(owner=owner, kind=kind.upper(), value=read(value), ttl=ttl)


def fitting(
    extra: Iterable[ZoneRecord],
    *,
    zone: DnsName,
    ours: tuple[ZoneRecord, ...],
    reserved: frozenset[DnsName] = frozenset(),
) -> tuple[ZoneRecord, ...]:
    """Return `extra` where it can stand beside `ours`; raise FormatError otherwise.

    `reserved` are names that are ours whether or not a record of ours is there now: a key
    to come would find its place taken.
    """
    held = {(one.owner, one.kind): one.ttl for one in ours}
    # Records of one name and type share a TTL (RFC 2181 §5.2): ours decides.
    asked = tuple(
        dict.fromkeys(
            replace(one, ttl=held.get((one.owner, one.kind), one.ttl)) for one in extra
        )
    )
    if len(asked) > MAX_EXTRA:
        raise FormatError(f"{zone} has over {MAX_EXTRA} records of its own")
    for record in asked:
        if record.owner != zone and not record.owner.is_below(zone):
            raise FormatError(f"{record.owner} does not lie in the zone {zone}")
        if record.owner in reserved:
            raise FormatError(f"{record.owner} {record.kind}: the name is ours")
        for other in (*ours, *asked):
            if other != record and (why := _conflict(record, other)):
                raise FormatError(f"{record.owner} {record.kind}: {why}")
        if any(_stands_over(record, other) for other in ours):
            raise FormatError(f"{record.owner} {record.kind}: the record is ours")
    return asked


def sifted(
    extra: Iterable[ZoneRecord],
    *,
    zone: DnsName,
    ours: tuple[ZoneRecord, ...],
    reserved: frozenset[DnsName] = frozenset(),
) -> tuple[tuple[ZoneRecord, ...], tuple[str, ...]]:
    """Return those that can stand beside `ours`, the earlier ones first, and why the
    others can't: what is ours may have changed since they were taken."""
    kept: tuple[ZoneRecord, ...] = ()
    reasons: list[str] = []
    for one in extra:
        try:
            kept = fitting((*kept, one), zone=zone, ours=ours, reserved=reserved)
        except FormatError as error:
            reasons.append(str(error))
    return kept, tuple(reasons)


def _conflict(record: ZoneRecord, other: ZoneRecord) -> str:
    if record.owner != other.owner:
        return ""
    if RecordType.CNAME in (record.kind, other.kind):
        return "a CNAME stands alone at its name"
    if record.kind == other.kind and record.ttl != other.ttl:
        return "records of one name and type share a TTL (RFC 2181 §5.2)"
    if record.kind == other.kind == RecordType.TXT and (
        is_version("v=spf1", record.value) and is_version("v=spf1", other.value)
    ):
        return "two SPF records at a name are an error (RFC 7208 §3.2)"
    return ""


def _stands_over(record: ZoneRecord, other: ZoneRecord) -> bool:
    """Texts of other services may stand beside an SPF record of ours; nothing else may."""
    is_text = record.kind == RecordType.TXT and is_version("v=spf1", other.value)
    same = (record.owner, record.kind) == (other.owner, other.kind)
    return same and not is_text


def is_version(version: str, text: str) -> bool:
    """Whether a TXT value begins with this version word, alone."""
    return text.lower().split(" ", 1)[0].split(";", 1)[0] == version


# ---- values by type


def _v4(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except ValueError:
        raise FormatError(f"{value[:40]!r} is not an IPv4 address") from None


def _v6(value: str) -> str:
    try:
        address = IPv6Address(value)
    except ValueError:
        raise FormatError(f"{value[:60]!r} is not an IPv6 address") from None
    if address.ipv4_mapped or address.scope_id:
        raise FormatError(f"{value[:60]!r} is not an address to publish")
    return str(address)


def _name(value: str) -> str:
    return f"{DnsName.parse(value)}."


def _numbered(count: int, shape: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        *numbers, name = value.split() or [""]
        fits = len(numbers) == count and all(
            _NUMBER.fullmatch(one) and int(one) <= _MAX_NUMBER for one in numbers
        )
        if not fits:
            raise FormatError(f"{value[:60]!r} is not of the form: {shape}")
        return " ".join([*(str(int(one)) for one in numbers), _name(name)])

    return read


def _text(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable():
        raise FormatError("a TXT value is printable ASCII, without quotes around it")
    if len(value) > _MAX_TEXT:
        raise FormatError(f"a TXT value has at most {_MAX_TEXT} octets")
    return value


def _caa(value: str) -> str:
    if not _CAA.fullmatch(value):
        raise FormatError(
            f'{value[:60]!r} is not a CAA value such as: 0 issue "ca.example"'
        )
    return value


_READERS: dict[str, Callable[[str], str]] = {
    RecordType.A: _v4,
    RecordType.AAAA: _v6,
    RecordType.CAA: _caa,
    RecordType.CNAME: _name,
    RecordType.MX: _numbered(1, "preference host"),
    RecordType.SRV: _numbered(3, "priority weight port host"),
    RecordType.TXT: _text,
}
