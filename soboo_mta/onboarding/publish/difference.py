"""What a name server serves against what a zone is to hold: the change that mends it.

Pure. The territory is stated once, in `_is_ours`: what DNSSEC adds, the SOA, name servers
beside ours and everything that others keep in a shared zone is never taken away.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from soboo_mta.identity.zones.zone import ZoneContent
from soboo_mta.identity.zones.zone_extra import is_version
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import RecordType, ZoneChange, ZoneRecord

_SERVERS_OWN = frozenset(
    {
        "SOA",
        "RRSIG",
        "NSEC",
        "NSEC3",
        "NSEC3PARAM",
        "DNSKEY",
        "CDS",
        "CDNSKEY",
        "ZONEMD",
        "TYPE65534",  # BIND keeps the state of its signing there
    }
)
_VERSIONS = ("v=spf1", "v=dkim1", "v=dmarc1")
_SERIALS = 2**32
_AHEAD = 2**31 - 1  # RFC 1982 §3.1: the most that a serial may rise at once


@dataclass(frozen=True, slots=True)
class Drift:
    """One record that is not as it is to be, in words: `is missing`, `is not ours`."""

    record: ZoneRecord
    what: str


def difference(content: ZoneContent, served: Iterable[ZoneRecord]) -> ZoneChange:
    """Return the change after which `served` is as `content` says; it touches nothing
    outside our territory."""
    there = frozenset(served)
    wanted = frozenset((*content.records, *_wishes(content, there)))
    gone = (one for one in there - wanted if _is_ours(one, content))
    return ZoneChange(
        zone=content.zone,
        removed=tuple(sorted(gone)),
        added=tuple(sorted(wanted - there)),
    )


def applied(change: ZoneChange, served: Iterable[ZoneRecord]) -> tuple[ZoneRecord, ...]:
    """Return what a zone holds after the change, in order."""
    removed = frozenset(change.removed)
    kept = [one for one in served if one not in removed]
    return tuple(sorted(dict.fromkeys((*kept, *change.added))))


def drifts(change: ZoneChange) -> tuple[Drift, ...]:
    """Return what the change mends, a record each, in words for people."""
    added = {_place(one) for one in change.added}
    removed = {_place(one) for one in change.removed}
    found = [
        Drift(one, "has another TTL" if _place(one) in added else "is not to be there")
        for one in change.removed
    ]
    found += [
        Drift(one, "is missing") for one in change.added if _place(one) not in removed
    ]
    return tuple(found)


def _place(record: ZoneRecord) -> tuple[DnsName, str, str]:
    return record.owner, record.kind, record.value


def next_serial(served: int, *, unix_seconds: int) -> int:
    """Return the serial after `served`: the time, or one more where that is no rise
    (RFC 1982 §3.2)."""
    now = unix_seconds % _SERIALS
    if 0 < (now - served) % _SERIALS <= _AHEAD:
        return now
    return (served + 1) % _SERIALS


def names_of(content: ZoneContent) -> tuple[DnsName, ...]:
    """Return the names to ask for where a zone can't be read whole."""
    found = (one.owner for one in (*content.records, *content.wishes))
    return tuple(dict.fromkeys((content.zone, *found)))


def _wishes(
    content: ZoneContent, there: frozenset[ZoneRecord]
) -> tuple[ZoneRecord, ...]:
    taken = {(one.owner, one.kind) for one in there}
    return tuple(
        one
        for one in content.wishes
        if not taken & {(one.owner, one.kind), (one.owner, RecordType.CNAME.value)}
    )


def _is_ours(record: ZoneRecord, content: ZoneContent) -> bool:
    """Whether the record may be taken away where `content` does not name it."""
    if record.kind in _SERVERS_OWN:
        return False
    if record.kind == RecordType.NS and record.owner == content.zone:
        return False  # a secondary that the operator added
    if any(
        record.owner == ground or record.owner.is_below(ground)
        for ground in content.grounds
    ):
        return True
    return any(_gives_way(record, one) for one in content.records)


def _gives_way(record: ZoneRecord, to: ZoneRecord) -> bool:
    """In a shared zone: whether `record` stands where one of ours must stand alone. A
    text of another kind (another service's proof) does not."""
    if (record.owner, record.kind) != (to.owner, to.kind):
        return False
    if record.kind != RecordType.TXT:
        return True
    return any(
        is_version(version, record.value) and is_version(version, to.value)
        for version in _VERSIONS
    )
