"""`soboo-mta domain records`: what to publish, in the form that is wanted."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
)
from soboo_mta.cli.domains.chosen import TenantOption, chosen
from soboo_mta.cli.records.dmarc_advice import DmarcAdvisor
from soboo_mta.cli.records.host import DnsHost, DnsProviderOption, dns_host
from soboo_mta.cli.records.page import DAYS, page_url
from soboo_mta.cli.records.record_forms import (
    HINTED,
    Format,
    FormOptions,
    refuse_idle,
    show_records,
)
from soboo_mta.daemon.domains.looking import doors
from soboo_mta.identity.forms.terraform import TerraformProvider
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.errors import FormatError


def records(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    form: Annotated[
        Format, typer.Option("--format", help="How to write them.")
    ] = Format.TABLE,
    operator: Annotated[
        bool, typer.Option("--operator", help="What we publish, for one or all.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="What each domain's owner publishes.")
    ] = False,
    provider: Annotated[
        TerraformProvider | None, typer.Option(help="Terraform: whose resources.")
    ] = None,
    zone_apex: Annotated[
        str | None,
        typer.Option(help="octoDNS: which zone; else the organisational domain."),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(help="E-mail: URL of another page than `domain link` makes."),
    ] = None,
    dns_provider: DnsProviderOption = None,
    dns: Annotated[
        bool, typer.Option(help="One DOMAIN: read the DMARC record that it has.")
    ] = True,
    dmarc_reports: Annotated[
        bool,
        typer.Option(
            "--dmarc-reports", help="Add [operator] dmarc_reports to the record it has."
        ),
    ] = False,
) -> None:
    """Show what to publish in DNS.

    For one DOMAIN its DMARC record is read first: one that is there is kept. For several
    domains, and with --no-dns, what is recommended is for a domain that has none.
    """
    store = open_store(config)
    if (domain is None) != (operator or every) and not (operator and domain):
        raise FormatError(
            "say which: a DOMAIN, --all for every domain, or --operator for what we publish"
        )
    if dmarc_reports:
        _refuse_idle_merge(store, is_read=dns and domain is not None and not operator)
    refuse_idle(form, provider, zone_apex, page, dns_provider)
    if dns_provider is not None and (operator or domain is None):
        raise FormatError(
            "--dns-provider is for one domain's owner: say a DOMAIN alone"
        )
    asked = [view.settings for view in chosen(store, domain, tenant)]
    if operator:
        found = operator_records(store.operator, asked)
    else:
        asking = asyncio.run(doors(store.settings, store.clock).opened(store.operator))
        found = tuple(
            record for one in asked for record in required_records(one, asking)
        )
        if domain is not None and dns:
            advice = DmarcAdvisor(store, asked[0].name)
            found = advice.into(found, merge=dmarc_reports)
    owner = asked[0].name if domain and not operator else None
    host = dns_host(store, asked[0], dns_provider) if owner and form in HINTED else None
    if page is None and owner and form is Format.EMAIL:
        page = _own_page(store, asked[0], host)
    options = FormOptions(
        provider=provider,
        zone_apex=zone_apex,
        page=page,
        owner=owner,
        within=store.operator.domain if operator else owner,
        operator=store.operator.domain,
        host=host,
    )
    show_records(found, form, options)


def _own_page(
    store: CliStore, settings: DomainSettings, host: DnsHost | None
) -> str | None:
    """Where the setup page is, and until when; None where the world can't reach it."""
    until = store.clock.now() + timedelta(days=DAYS)
    page = page_url(store, settings, until=int(until.timestamp()), host=host)
    return page and f"{page} (until {until:%Y-%m-%d})"


def _refuse_idle_merge(store: CliStore, *, is_read: bool) -> None:
    if store.operator.dmarc_reports is None:
        raise FormatError(
            "there is no address to add: set [operator] dmarc_reports to one at"
            f" {store.operator.domain}"
        )
    if not is_read:
        raise FormatError(
            "--dmarc-reports adds to the record of one DOMAIN, which is read for that:"
            " say it with a DOMAIN, and without --operator and --no-dns"
        )
