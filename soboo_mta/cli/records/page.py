"""`soboo-mta domain link`: a page for whoever manages a domain's DNS, without an account."""

from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from soboo_mta.cli.connect.offering import page_offer
from soboo_mta.cli.context import DEFAULT_CONFIG, CliStore, ConfigPath, open_store, say
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.cli.records.host import DnsHost, DnsProviderOption, dns_host
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.errors import FormatError
from soboo_mta.tenancy.setup_link import Click, SetupLinks

DAYS: Final = 30
_DAY: Final = 24 * 3_600  # seconds


def link(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Until it ends.")] = DAYS,
    dns_provider: DnsProviderOption = None,
    connect: Annotated[
        bool, typer.Option(help="With a one-click button, where that is possible.")
    ] = True,
) -> None:
    """Make a link to a page that shows what to publish and how it looks now: for whoever
    manages the domain's DNS, without an account.

    It looks up whose DNS host serves the domain, for the page to say where to enter what,
    and where there are keys of `connect keys`, whether that does Domain Connect.
    """
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    url = page_url(
        store,
        settings,
        until=store.clock.unix_ms() // 1_000 + days * _DAY,
        host=dns_host(store, settings, dns_provider),
        connect=connect,
    )
    if url is None:
        raise FormatError(
            "no link can be made: set [http] public_url to where the HTTP listeners are"
            " reached from outside"
        )
    say(url)


def page_url(
    store: CliStore,
    settings: DomainSettings,
    *,
    until: int,
    host: DnsHost | None,
    connect: bool = True,
) -> str | None:
    """Return the page's URL, which opens until then (unix seconds); None where no address
    is set at which the world reaches it."""
    site = store.settings.http.public_url
    if site is None:
        return None
    links = SetupLinks(store.master.setup_key())
    token = links.token(settings.domain_id, until=until)
    carried: dict[str, str] = {}
    if host is not None:
        carried["dns"] = host.provider.key
    if connect and (offer := page_offer(store, settings)):
        click = Click(name=offer.host.name, url=offer.url)
        carried["apply"] = links.carry(token, click)
    query = f"?{urlencode(carried)}" if carried else ""
    return f"{site}/setup/{token}{query}"
