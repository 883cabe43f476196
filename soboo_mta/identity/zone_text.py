"""Records as zone file text (RFC 1035 §5.1), for name servers and for people.

Pure. Long TXT values become several character-strings of at most 255 octets (RFC 1035
§3.3.14); names are written in full, with the final dot.
"""

from collections.abc import Iterable, Sequence

from soboo_mta.identity.state import RequiredRecord
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import RecordType, ZoneRecord

_STRING_OCTETS = 255


def zone_file(
    records: Iterable[RequiredRecord],
    *,
    origin: DnsName,
    name_servers: Sequence[DnsName],
    host_master: DnsName,
    serial: int,
    ttl: int = 300,
    extra: Iterable[str] = (),
) -> str:
    """Return a whole zone: SOA and NS, the records at or under `origin`, then `extra`.

    `extra` are lines of the operator's own, such as addresses of its hosts. Records
    outside `origin` are left out. `serial` must rise with every change (RFC 1982).
    """
    soa = (
        f"{origin}. IN SOA {name_servers[0]}. {host_master}. "
        f"{serial} 3600 600 1209600 {min(ttl, 60)}"
    )
    lines = [f"$TTL {ttl}", soa]
    lines += [f"{origin}. IN NS {server}." for server in name_servers]
    lines += [
        record_line(record)
        for record in records
        if record.owner == origin or record.owner.is_below(origin)
    ]
    return "\n".join([*lines, *extra]) + "\n"


def records_text(records: Iterable[RequiredRecord]) -> str:
    """Return the records alone, each after its note, to paste into an existing zone."""
    lines: list[str] = []
    for record in records:
        wish = "" if record.is_required else "recommended: "
        if record.note or wish:
            lines.append(f"; {wish}{record.note}".rstrip())
        lines.append(record_line(record))
    return "".join(f"{line}\n" for line in lines)


def record_line(record: RequiredRecord) -> str:
    value = record.value
    if record.kind is RecordType.TXT:
        value = quoted(value)
    return f"{record.owner}. IN {record.kind} {value}"


def zone_record_line(record: ZoneRecord) -> str:
    """Return a zone's record with its TTL, as one line without its end."""
    value = quoted(record.value) if record.kind == RecordType.TXT else record.value
    return f"{record.owner}. {record.ttl} IN {record.kind} {value}"


def quoted(value: str) -> str:
    """Return a TXT value as quoted character-strings."""
    octets = value.encode("latin-1")
    pieces = [
        octets[start : start + _STRING_OCTETS]
        for start in range(0, len(octets), _STRING_OCTETS)
    ] or [b""]
    return " ".join(f'"{_escaped(piece)}"' for piece in pieces)


def _escaped(piece: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}"
        if octet in b'"\\'
        else chr(octet)
        if 0x20 <= octet < 0x7F
        else f"\\{octet:03d}"
        for octet in piece
    )
