"""Records as a zone file of octoDNS (its YamlProvider). Pure.

Names are relative to the zone and in natural order, which octoDNS enforces; a `;` in a TXT
is escaped with a backslash, and a long one stays whole: octoDNS cuts it itself.
"""

import re
from collections.abc import Iterable

from soboo_mta.identity.forms.parts import TTL, may_exist, mx_parts
from soboo_mta.identity.state import RequiredRecord
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType

_Sets = dict[str, dict[RecordType, list[RequiredRecord]]]


def octodns_text(
    records: Iterable[RequiredRecord], *, apex: Domain, ttl: int = TTL
) -> str:
    """Return YAML for the zone `apex`; what may exist already stands in comments.

    Raises FormatError for a record outside `apex`, and for NS of `apex` itself.
    """
    kept: _Sets = {}
    lines = [
        f"# for the zone {apex}. Merge it into the zone's file:",
        "# octoDNS deletes records that its files lack.",
        "---",
    ]
    suggested: list[str] = []
    for record in records:
        name = _relative(record, apex)
        if may_exist(record):
            suggested += _suggestion(name, record, ttl)
        else:
            kept.setdefault(name, {}).setdefault(record.kind, []).append(record)
    for name in sorted(kept, key=_natural):
        lines.append(f"{_text(name)}:")
        for found in kept[name].values():
            lines += _set(found, ttl)
    return "\n".join([*lines, *suggested]) + "\n"


def _relative(record: RequiredRecord, apex: Domain) -> str:
    owner: DnsName = record.owner
    if owner == apex:
        if record.kind is RecordType.NS:
            raise FormatError(
                f"the name servers of {apex} are set at its registrar, not in its zone"
            )
        return ""
    if not owner.is_below(apex):
        raise FormatError(
            f"{owner} is not in the zone {apex}: say one domain and its --zone-apex"
        )
    return owner.removesuffix(f".{apex}")


def _natural(name: str) -> list[str | int]:
    """sb2 before sb10; texts and numbers take turns, so that they never compare."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _suggestion(name: str, record: RequiredRecord, ttl: int) -> list[str]:
    body = [f"{_text(name)}:", *_set([record], ttl)]
    return [f"# recommended: {record.note}", *(f"# {line}" for line in body)]


def _set(records: list[RequiredRecord], ttl: int) -> list[str]:
    return [
        f"  - ttl: {ttl}",
        f"    type: {records[0].kind}",
        "    values:" if records[0].kind is not RecordType.CNAME else "    value:",
        *(_value(record) for record in records),
    ]


def _value(record: RequiredRecord) -> str:
    match record.kind:
        case RecordType.CNAME:
            return f"      {_text(record.value)}"
        case RecordType.MX:
            preference, host = mx_parts(record)
            return f"      - exchange: {_text(host)}\n        preference: {preference}"
        case RecordType.TXT:
            return f"      - {_text(record.value.replace(';', chr(92) + ';'))}"
        case _:
            return f"      - {_text(record.value)}"


def _text(value: str) -> str:
    """A YAML string in single quotes, where nothing but the quote is special."""
    return "'" + value.replace("'", "''") + "'"
