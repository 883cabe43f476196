"""`soboo-mta zone record`: the customer's own records in a zone delegated to us."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
)
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.daemon.publishing.zones import zone_options
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.state import DomainSettings
from soboo_mta.identity.zones.zone_extra import DEFAULT_TTL, extra_record
from soboo_mta.identity.zones.zone_text import zone_record_line
from soboo_mta.ports import ZoneRecord
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.domains.zones import (
    add_own_record,
    own_records,
    remove_own_record,
)

app = typer.Typer(
    no_args_is_help=True,
    help="The customer's own records in a delegated zone.",
    add_completion=False,
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="In full; @ for the zone itself.")
]
TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", help="A, AAAA, CAA, CNAME, MX, SRV or TXT.")
]
ValueArgument = Annotated[
    str,
    typer.Argument(metavar="VALUE", help="As in a zone file; TXT without its quotes."),
]


@app.command()
def add(
    domain: DomainArgument,
    name: NameArgument,
    kind: TypeArgument,
    value: ValueArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    ttl: Annotated[int, typer.Option(help="Seconds.")] = DEFAULT_TTL,
) -> None:
    """Add a record to the zone that is delegated for DOMAIN; it is published at once."""
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    record = extra_record(name, kind, value, zone=settings.home, ttl=ttl)

    def write(connection: Connection) -> None:
        options = zone_options(store.settings)
        add_own_record(connection, settings, record, store.operator, options)

    _change(store, settings, record, EventKind.ZONE_RECORD_ADDED, write)
    say(f"added: {zone_record_line(record)}")


@app.command("list")
def list_all(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """List the customer's own records; ours are in `soboo-mta zone show`."""
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    found = read_now(store.engine, lambda at: own_records(at, settings.domain_id))
    table = Table("name", "type", "ttl", "value")
    for one in found:
        table.add_row(one.owner, one.kind, str(one.ttl), one.value)
    say(table if found else f"{settings.home} has no records of its owner's own")


@app.command()
def remove(
    domain: DomainArgument,
    name: NameArgument,
    kind: TypeArgument,
    value: ValueArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """Take one of the customer's own records out of the zone."""
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    record = extra_record(name, kind, value, zone=settings.home)

    def write(connection: Connection) -> None:
        remove_own_record(connection, settings, record)

    _change(store, settings, record, EventKind.ZONE_RECORD_REMOVED, write)
    say(f"removed: {record.owner} {record.kind} {record.value}")


def _change(
    store: CliStore,
    settings: DomainSettings,
    record: ZoneRecord,
    kind: EventKind,
    write: Callable[[Connection], None],
) -> None:
    """Make the change and note it, in one transaction."""
    event = recorded(
        kind,
        at=store.clock.unix_ms(),
        actor=actor(),
        tenant=settings.tenant,
        domain=settings.name,
        detail={"name": record.owner, "type": record.kind, "value": record.value},
    )

    def both(connection: Connection) -> None:
        write(connection)
        perform(connection, event)

    write_now(store.engine, both)
