"""`soboo-mta zone`: the zones that are kept on a name server, and whether they are there."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.dns import zone_record
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.daemon.publishing.rounds import (
    keeping,
    policies_to_keep,
    publish_all,
    publisher_of,
)
from soboo_mta.daemon.publishing.zones import Zones, zones_of
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.zones.mta_sts import policy_text
from soboo_mta.identity.zones.zone import ZoneContent
from soboo_mta.identity.zones.zone_dmarc import kept_record
from soboo_mta.identity.zones.zone_text import zone_record_line
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.name_servers.wire import delegation_signers
from soboo_mta.onboarding.publish.publisher import (
    Look,
    Published,
    Publisher,
    Result,
    Trouble,
    Waiting,
)
from soboo_mta.ports import NameServerError
from soboo_mta.settings.options import resolver_options
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.domains.zones import keep_policy

app = typer.Typer(
    no_args_is_help=True,
    help="Delegated zones and your own, on a name server.",
    add_completion=False,
)
app.add_typer(zone_record.app, name="record")
ZoneArgument = Annotated[str | None, typer.Argument(metavar="[ZONE]")]


@app.command("mta-sts")
def mta_sts(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print the MTA-STS policy file of all bounce hosts in delegated zones.

    Serve it at https://mta-sts.BOUNCE-HOST/.well-known/mta-sts.txt, on the hosts that
    [publish] mta_sts_hosts names.
    """
    settings = open_store(config).settings
    if not settings.publish.mta_sts_hosts:
        raise FormatError(
            "no policy is said: set [publish] mta_sts_hosts to the addresses of the HTTPS"
            " host that is to serve it"
        )
    text = policy_text(settings.publish.mta_sts_mode, settings.operator.hosts)
    sys.stdout.buffer.write(text.encode())  # its line ends are CR LF


@app.command("list")
def list_all(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List the zones, whose they are and how many records of each are ours."""
    zones = _zones(open_store(config))
    table = Table("zone", "domain", "tenant", "records")
    for content in zones.contents:
        owner = zones.owners.get(content.zone)
        domain, tenant = (owner.name, owner.tenant) if owner else ("your own", "")
        table.add_row(content.zone, domain, tenant, str(len(content.records)))
    say(table)


@app.command()
def show(
    zone: Annotated[str, typer.Argument(metavar="ZONE")],
    config: ConfigPath = DEFAULT_CONFIG,
    ds: Annotated[
        bool,
        typer.Option("--ds", help="The DS records for its parent, if it is signed."),
    ] = False,
) -> None:
    """Print what a zone is to hold, as zone file text without the SOA."""
    store = open_store(config)
    zones = _zones(store)
    chosen = _chosen(zones, zone)
    if ds:
        publisher = publisher_of(store.settings, zones, store.clock)
        asyncio.run(_say_signers(chosen[0], publisher))
        return
    for content in chosen:
        for record in content.records:
            typer.echo(zone_record_line(record))


@app.command()
def check(zone: ZoneArgument = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Compare with what the name server holds; change nothing. Exit code 1 where it
    differs."""
    store = open_store(config)
    zones = _zones(store)
    publisher = publisher_of(store.settings, zones, store.clock)
    chosen = _chosen(zones, zone)
    if not asyncio.run(_check(chosen, publisher)):
        raise typer.Exit(FAULT)


@app.command()
def publish(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Publish every zone now, as `serve` does by itself. Exit code 1 at a trouble."""
    store = open_store(config)
    zones = _zones(store)
    publisher = publisher_of(store.settings, zones, store.clock)
    results = asyncio.run(_publish(store, zones, publisher))
    for result in results:
        _say_result(result)
    if any(isinstance(one, Trouble) for one in results):
        raise typer.Exit(FAULT)


@app.command()
def dmarc(
    domain: DomainArgument,
    record: Annotated[
        str, typer.Argument(metavar="RECORD", help="v=DMARC1; p=reject, say.")
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """Change the DMARC record of a zone that is the From domain itself. Until it is
    delegated, the record that its owner publishes is the one to be kept."""
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    text = kept_record(record)
    event = recorded(
        EventKind.ZONE_RECORD_ADDED,
        at=store.clock.unix_ms(),
        actor=actor(),
        tenant=settings.tenant,
        domain=settings.name,
        detail={"name": f"_dmarc.{settings.home}", "type": "TXT", "value": text},
    )

    def write(connection: Connection) -> None:
        keep_policy(connection, settings, text)
        perform(connection, event)

    write_now(store.engine, write)
    say(f"_dmarc.{settings.home} says: {text}")


async def _publish(
    store: CliStore, zones: Zones, publisher: Publisher
) -> tuple[Result, ...]:
    results = await publish_all(zones, publisher)
    resolver = DnsResolver(options=resolver_options(store.settings), clock=store.clock)
    for of, text in await policies_to_keep(zones, results, resolver):
        write_now(store.engine, keeping(of, text))
    return results


def _zones(store: CliStore) -> Zones:
    suffixes = SuffixList()
    return read_now(store.engine, lambda at: zones_of(at, store.settings, suffixes))


def _chosen(zones: Zones, text: str | None) -> tuple[ZoneContent, ...]:
    if text is None:
        return zones.contents
    name = DnsName.parse(text)
    found = tuple(one for one in zones.contents if one.zone == name)
    if not found:
        raise FormatError(f"there is no zone {name}; see `soboo-mta zone list`")
    return found


async def _check(contents: tuple[ZoneContent, ...], publisher: Publisher) -> bool:
    """Say each difference; return whether there is none."""
    is_good = True
    for content in contents:
        try:
            is_good &= _say_look(await publisher.look(content))
        except NameServerError as error:
            warn(f"{content.zone}: {error}")
            is_good = False
    return is_good


async def _say_signers(content: ZoneContent, publisher: Publisher) -> None:
    try:
        served = (await publisher.look(content)).served
    except NameServerError as error:
        warn(f"{content.zone}: {error}")
        raise typer.Exit(FAULT) from error
    found = delegation_signers(content.zone, served.records if served else ())
    for value in found:
        typer.echo(f"{content.zone}. IN DS {value}")
    if not found:
        warn(
            f"{content.zone}: no key was found: the zone is not signed, or the server "
            "shows none by a zone transfer"
        )
        raise typer.Exit(FAULT)


def _say_look(look: Look) -> bool:
    if look.served is None:
        say(f"{look.zone}: is not on the name server")
        return False
    for one in look.drift:
        say(f"{look.zone}: {one.record.owner} {one.record.kind} {one.what}")
    if not look.drift:
        say(f"{look.zone}: as it is to be, serial {look.served.serial}")
    return not look.drift


def _say_result(result: Result) -> None:
    match result:
        case Published(zone=zone, mended=mended):
            say(f"{zone}: published, {len(mended)} changes")
        case Waiting(zone=zone):
            say(f"{zone}: waits, its parent does not lead to our name servers yet")
        case Trouble(zone=zone, cause=cause):
            warn(f"{zone}: {cause}")
