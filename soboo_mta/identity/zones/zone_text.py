"""Records as zone file text (RFC 1035 §5.1), for name servers and for people.

Pure. Long TXT values become several character-strings of at most 255 octets (RFC 1035
§3.3.14); names are written in full, with the final dot.
"""

from collections.abc import Iterable, Iterator, Sequence

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


def panel_text(records: Iterable[RequiredRecord]) -> str:
    """Return records as the fields of a DNS host's web form want them: the exact strings,
    each on a line of its own, nothing before or after it to be copied along.

    A TXT value over 255 octets comes twice: whole, for a form that cuts it itself, and in
    quoted pieces, for one that does not.
    """
    return "\n".join("".join(f"{line}\n" for line in _panel(r)) for r in records)


def _panel(record: RequiredRecord) -> Iterator[str]:
    wish = "" if record.is_required else " (recommended)"
    yield f"; {record.kind}{wish}: {record.note or record.purpose}"
    yield "; name; a form that adds the zone's name itself wants it without that"
    yield record.owner
    if record.kind is not RecordType.TXT:
        yield f"; {record.kind} value; a form without final dots wants it without"
        yield record.value
        return
    yield "; value, one line, no quotation marks: the form adds them"
    yield record.value
    cut = pieces(record.value)
    if len(cut) > 1:
        yield f"; or, where a form takes no more than 255 characters: {len(cut)} pieces of"
        yield "; one record, in this order, with nothing between them but one blank"
        yield quoted(record.value)


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
    return " ".join(f'"{_escaped(one.encode("latin-1"))}"' for one in pieces(value))


def pieces(value: str) -> tuple[str, ...]:
    """Return a TXT value (latin-1, an octet a character) in character-strings of at most
    255 octets: joined without a blank they are the value."""
    cut = range(0, len(value), _STRING_OCTETS)
    return tuple(value[start : start + _STRING_OCTETS] for start in cut) or ("",)


def _escaped(piece: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}"
        if octet in b'"\\'
        else chr(octet)
        if 0x20 <= octet < 0x7F
        else f"\\{octet:03d}"
        for octet in piece
    )
