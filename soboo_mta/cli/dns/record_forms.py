"""Required records in the form that was asked for, and which option is for which form."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import typer

from soboo_mta.cli.context import say, say_json
from soboo_mta.cli.domains.tables import record_values, records_table
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.forms.letter import letter_text
from soboo_mta.identity.forms.octodns import octodns_text
from soboo_mta.identity.forms.table_csv import csv_text
from soboo_mta.identity.forms.terraform import TerraformProvider, terraform_text
from soboo_mta.identity.state import RequiredRecord
from soboo_mta.identity.zone_text import panel_text, records_text
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FormOptions:
    """What was typed for one form alone, and whose records they are.

    `owner` is the customer's domain where the records are those of one; `within` a name in
    the zone that they belong to, None where there are several.
    """

    provider: TerraformProvider | None
    zone_apex: str | None
    page: str | None
    owner: Domain | None
    within: Domain | None
    operator: Domain


def show_records(
    records: Sequence[RequiredRecord], form: Format, options: FormOptions
) -> None:
    """Print records; raise FormatError where an option lacks or is for another form."""
    _refuse_idle(form, options)
    match form:
        case Format.TABLE:
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
            return terraform_text(records, _provider(options))
        case Format.OCTODNS:
            return octodns_text(records, apex=_apex(options))
        case Format.EMAIL:
            return _letter(records, options)
        case _:
            return records_text(records)


def _refuse_idle(form: Format, options: FormOptions) -> None:
    for name, given, its_form in (
        ("--provider", options.provider, Format.TERRAFORM),
        ("--zone-apex", options.zone_apex, Format.OCTODNS),
        ("--page", options.page, Format.EMAIL),
    ):
        if given is not None and form is not its_form:
            raise FormatError(f"{name} is for --format {its_form} alone")


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
    return letter_text(
        records, domain=options.owner, operator=options.operator, page=page
    )
