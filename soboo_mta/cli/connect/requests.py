"""`soboo-mta connect keys`, `discover` and `url`: what one customer needs of a template."""

import asyncio
from typing import Annotated

import typer

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.connect.offering import (
    connect_offer,
    doors,
    give_up,
    signing_keys,
)
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.identity.state import Operator
from soboo_mta.mail.domain import Domain
from soboo_mta.net.clock import SystemClock
from soboo_mta.onboarding.connect.discovery import (
    ConnectHost,
    NoAnswer,
    NotOffered,
    discover,
    has_template,
)
from soboo_mta.onboarding.connect.keys import ConnectKey, published
from soboo_mta.onboarding.connect.template import (
    Labels,
    key_domain,
    service_id,
)
from soboo_mta.onboarding.providers.recognition import zone_of
from soboo_mta.ports import HttpClient, Resolver, Unanswered
from soboo_mta.settings import load
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    DEFAULT_ZONE_LABEL,
)


def show_keys(
    config: ConfigPath = DEFAULT_CONFIG,
    new: Annotated[
        bool, typer.Option("--new", help="Make one more key; the others stay.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the TXT records of the keys that sign requests, and whether DNS has them.

    The newest one that DNS shows signs, so a new key changes nothing before its records
    are there.
    """
    store = open_store(config)
    held = signing_keys(store)
    if new:
        held.make()
    keys = held.all()
    domain = key_domain(store.operator)
    seen = asyncio.run(_states(store, keys))
    if as_json:
        say_json(
            [
                {
                    "key": one.label,
                    "name": one.owner(domain),
                    "txt": one.texts,
                    "in_dns": is_in,
                }
                for one, is_in in zip(keys, seen, strict=True)
            ]
        )
        return
    if not keys:
        say("there are no keys: soboo-mta connect keys --new")
    for key, is_in in zip(keys, seen, strict=True):
        say(f"; {key.label}: {_SEEN[is_in]}")
        for text in key.texts:
            say(f'{key.owner(domain)}. IN TXT "{text}"')


_SEEN = {True: "in DNS", False: "not in DNS yet", None: "DNS gives no answer"}


async def _states(store: CliStore, keys: tuple[ConnectKey, ...]) -> list[bool | None]:
    resolver, _ = doors(store.settings, store.clock)
    found: list[bool | None] = []
    for key in keys:
        state = await published((key,), key_domain(store.operator), resolver)
        found.append(None if isinstance(state, Unanswered) else state is key)
    return found


def discover_host(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Any domain.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Ask whether a domain's DNS host does Domain Connect, and has our templates.

    Exit code 1 where it does not, 3 where nobody can say.
    """
    settings = load(config)
    resolver, http = doors(settings, SystemClock())
    name, operator = Domain.parse(domain), settings.identity()
    found = asyncio.run(_discovered(name, operator, resolver, http))
    if isinstance(found, NotOffered | NoAnswer):
        give_up(found)
    host, apex, has = found
    values = {
        "zone": apex,
        "provider": host.provider,
        "name": host.name,
        "by_link": bool(host.sync_url),
        "panel": host.panel,
        "templates": has,
    }
    if as_json:
        say_json(values)
        return
    flow = "by link" if host.sync_url else "not by link"
    say(f"{apex} is at {host.name} ({host.provider}): Domain Connect, {flow}")
    for service, state in has.items():
        say(f"template {operator.domain} {service}: {_HAS[state]}")
    if host.panel:
        say(f"its records are edited at {host.panel}")


_HAS = {True: "there", False: "not there", None: "no answer"}


async def _discovered(
    name: Domain, operator: Operator, resolver: Resolver, http: HttpClient
) -> tuple[ConnectHost, Domain, dict[str, bool | None]] | NotOffered | NoAnswer:
    zone = await zone_of(name, resolver)
    if isinstance(zone, Unanswered):
        return NoAnswer(zone.cause)
    host = await discover(zone.apex, resolver, http)
    if not isinstance(host, ConnectHost):
        return host
    has: dict[str, bool | None] = {}
    for delegated in (None, DEFAULT_ZONE_LABEL):
        labels = Labels(
            bounce=DEFAULT_BOUNCE_LABEL, selectors=DEFAULT_SELECTORS, zone=delegated
        )
        service = service_id(labels)
        found = await has_template(host, operator, service, http)
        has[service] = None if isinstance(found, NoAnswer) else found
    return host, zone.apex, has


def show_url(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """Show the signed address at which the customer sets a domain up by one click.

    Exit code 1 where its DNS host cannot, 3 where nobody can say.
    """
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    found = connect_offer(store, settings)
    if isinstance(found, NotOffered | NoAnswer):
        give_up(found)
    say(found.url)
    warn(f"{settings.tenant}'s {settings.name}, at {found.host.name}")
    if found.left_out:
        warn(
            f"not among it: {', '.join(found.left_out)}: a record is there, or DNS did not"
            " say that none is"
        )
