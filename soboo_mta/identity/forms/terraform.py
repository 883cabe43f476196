"""Records as Terraform resources, for Cloudflare (provider version 5) or Route 53. Pure.

The zone is a variable, `zone_id`. Cloudflare has a resource for each record and takes a TXT
as quoted strings; Route 53 has one for each name and type, and its provider adds the outer
quotes of a TXT itself, so that the pieces of a long one are parted by two quotes.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.forms.parts import (
    TTL,
    is_at_registrar,
    may_exist,
    mx_parts,
)
from soboo_mta.identity.state import RequiredRecord
from soboo_mta.identity.zones.zone_text import pieces, quoted
from soboo_mta.ports import RecordType

_PROXIED_TYPES = (RecordType.A, RecordType.AAAA, RecordType.CNAME)


class TerraformProvider(StrEnum):
    """Whose resources are written."""

    CLOUDFLARE = "cloudflare"
    ROUTE53 = "route53"


def terraform_text(
    records: Iterable[RequiredRecord],
    provider: TerraformProvider,
    *,
    suffixes: Suffixes,
    ttl: int = TTL,
) -> str:
    """Return HCL; what may exist already stands in comments, and so do the name servers
    of a registered domain."""
    blocks = [
        'variable "zone_id" {\n  type        = string\n'
        '  description = "The id of the DNS zone at the provider"\n}'
    ]
    taken: set[str] = set()
    for found in _grouped(records, provider):
        if is_at_registrar(found[0], suffixes):
            blocks.append("\n".join(map(_at_registrar, found)))
            continue
        label = _free_label(found[0], taken)
        match provider:
            case TerraformProvider.CLOUDFLARE:
                body = _cloudflare(found[0], label, ttl)
            case TerraformProvider.ROUTE53:
                body = _route53(found, label, ttl)
        blocks.append("\n".join(_noted(found[0], body)))
    return "\n\n".join(blocks) + "\n"


def _grouped(
    records: Iterable[RequiredRecord], provider: TerraformProvider
) -> Iterator[list[RequiredRecord]]:
    if provider is TerraformProvider.CLOUDFLARE:
        yield from ([record] for record in records)
        return
    sets: dict[tuple[str, RecordType, bool], list[RequiredRecord]] = {}
    for record in records:
        key = (record.owner, record.kind, may_exist(record))
        sets.setdefault(key, []).append(record)
    yield from sets.values()


def _free_label(record: RequiredRecord, taken: set[str]) -> str:
    """A resource name that is valid (no leading digit) and not yet taken."""
    base = re.sub(r"[^a-z0-9_-]", "_", f"{record.owner}_{record.kind}".lower())
    if base[0].isdigit():
        base = f"_{base}"
    label, number = base, 1
    while label in taken:
        number += 1
        label = f"{base}_{number}"
    taken.add(label)
    return label


def _at_registrar(record: RequiredRecord) -> str:
    server = record.value.removesuffix(".")
    return (
        f"# at the registrar of {record.owner}, not in its zone: name server {server}"
    )


def _noted(record: RequiredRecord, body: list[str]) -> list[str]:
    if may_exist(record):
        return [f"# recommended: {record.note}", *(f"# {line}" for line in body)]
    return [f"# {record.note}", *body] if record.note else body


def _cloudflare(record: RequiredRecord, label: str, ttl: int) -> list[str]:
    content, extra = record.value.removesuffix("."), []
    if record.kind is RecordType.TXT:
        content = quoted(record.value)
    elif record.kind is RecordType.MX:
        preference, host = mx_parts(record)
        content, extra = host.removesuffix("."), [f"  priority = {preference}"]
    if record.kind in _PROXIED_TYPES:
        extra = ["  proxied = false"]  # a proxied name shows no CNAME
    return [
        f'resource "cloudflare_dns_record" "{label}" {{',
        "  zone_id = var.zone_id",
        f"  name = {_string(record.owner)}",
        f"  type = {_string(record.kind)}",
        f"  ttl = {ttl}",
        f"  content = {_string(content)}",
        *extra,
        "}",
    ]


def _route53(records: list[RequiredRecord], label: str, ttl: int) -> list[str]:
    return [
        f'resource "aws_route53_record" "{label}" {{',
        "  zone_id = var.zone_id",
        f"  name = {_string(records[0].owner)}",
        f"  type = {_string(records[0].kind)}",
        f"  ttl = {ttl}",
        "  records = [",
        *(f"    {_string(_route53_value(record))}," for record in records),
        "  ]",
        "}",
    ]


def _route53_value(record: RequiredRecord) -> str:
    if record.kind is not RecordType.TXT:
        return record.value
    return '""'.join(quoted(one)[1:-1] for one in pieces(record.value))


def _string(value: str) -> str:
    """An HCL string; `${` and `%{` would begin a template."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'
