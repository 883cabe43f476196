"""Required records in the form that was asked for, and which option is for which form."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import typer

from soboo_mta.cli.context import say, say_json
from soboo_mta.cli.domains.tables import record_values, records_table
from soboo_mta.cli.records.host import DnsHost
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.forms.letter import letter_text
from soboo_mta.identity.forms.octodns import octodns_text
from soboo_mta.identity.forms.table_csv import csv_text
from soboo_mta.identity.forms.terraform import TerraformProvider, terraform_text
from soboo_mta.identity.state import RequiredRecord
from soboo_mta.identity.zones.zone_text import panel_text, records_text
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType


class Format(StrEnum):
    """How records are written."""

    TABLE = "table"
    ZONE = "zone"
    PANEL = "panel"  # the exact strings for a web form
    JSON = "json"
    CSV = "csv"
    TERRAFORM = "terraform"
    OCTODNS = "octodns"
    EMAIL = "email"  # to whoever manages the customer's DNS


HINTED = (Format.TABLE, Format.EMAIL)
"""The forms for people, with hints for their DNS host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormOptions:
    """What was typed for one form alone, and whose records they are.

    `owner` is the customer's domain where the records are those of one; `within` a name in
    the zone that they belong to, None where there are several; `host` the DNS host of the
    owner, None where it is not known.
    """

    provider: TerraformProvider | None
    zone_apex: str | None
    page: str | None
    owner: Domain | None
    within: Domain | None
    operator: Domain
    host: DnsHost | None


def show_records(
    records: Sequence[RequiredRecord], form: Format, options: FormOptions
) -> None:
    """Print records; raise FormatError where an option lacks."""
    match form:
        case Format.TABLE:
            for hint in _advice(records, options):
                say(hint)
            say(records_table(records))
        case Format.JSON:
            say_json([record_values(record) for record in records])
        case _:
            typer.echo(_text(records, form, options), nl=False)


def _text(records: Sequence[RequiredRecord], form: Format, options: FormOptions) -> str:
    match form:
        case Format.PANEL:
            return panel_text(records)
        case Format.CSV:
            return csv_text(records)
        case Format.TERRAFORM:
            return terraform_text(records, _provider(options), suffixes=SuffixList())
        case Format.OCTODNS:
            return octodns_text(records, apex=_apex(options))
        case Format.EMAIL:
            return _letter(records, options)
        case _:
            return records_text(records)


def refuse_idle(
    form: Format,
    provider: TerraformProvider | None,
    zone_apex: str | None,
    page: str | None,
    dns_provider: str | None,
) -> None:
    """Raise FormatError where an option was typed that is for another form."""
    for name, given, its_forms in (
        ("--provider", provider, (Format.TERRAFORM,)),
        ("--zone-apex", zone_apex, (Format.OCTODNS,)),
        ("--page", page, (Format.EMAIL,)),
        ("--dns-provider", dns_provider, HINTED),
    ):
        if given is not None and form not in its_forms:
            raise FormatError(f"{name} is for --format {' or '.join(its_forms)} alone")


def _advice(records: Sequence[RequiredRecord], options: FormOptions) -> tuple[str, ...]:
    """What to do at the owner's DNS host, where that is known."""
    host = options.host
    if host is None:
        return ()
    with_ns = any(record.kind is RecordType.NS for record in records)
    return host.provider.advice(zone=host.zone, with_ns=with_ns)


def _provider(options: FormOptions) -> TerraformProvider:
    if options.provider is None:
        raise FormatError(
            "--format terraform needs --provider cloudflare or --provider route53"
        )
    return options.provider


def _apex(options: FormOptions) -> Domain:
    if options.zone_apex is not None:
        return Domain.parse(options.zone_apex)
    if options.within is None:
        raise FormatError("--format octodns is one zone: say a DOMAIN or --zone-apex")
    return SuffixList().organizational_domain(options.within)


def _letter(records: Sequence[RequiredRecord], options: FormOptions) -> str:
    if options.owner is None:
        raise FormatError("--format email is to one domain's owner: say a DOMAIN alone")
    page = options.page
    if page is not None and not page.startswith(("https://", "http://")):
        raise FormatError(f"--page is no URL: {page[:60]!r}")
    host = options.host
    return letter_text(
        records,
        domain=options.owner,
        operator=options.operator,
        page=page,
        advice=_advice(records, options),
        typed_name=lambda owner: (
            host.provider.typed_name(owner, host.zone) if host else owner
        ),
    )
