"""Looks at the queue: `top`, `list`, `show`, `why`."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.queue.options import (
    Asked,
    FromSource,
    Json,
    MessageArgument,
    OfDomain,
    OfTenant,
    State,
    ToDomain,
    ToSite,
    selection,
)
from soboo_mta.cli.queue.words import (
    entries_table,
    envelope_lines,
    gate_line,
    groups_table,
    reason_line,
    reroute_line,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool import view
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.operator import summary
from soboo_mta.spool.operator.orders import reroutes
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.operator.summary import GroupBy
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import list_domains


def top(
    config: ConfigPath = DEFAULT_CONFIG,
    by: Annotated[GroupBy, typer.Option(help="A line for each.")] = GroupBy.SITE,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 20,
    every: Annotated[
        float | None, typer.Option(min=0.2, help="Again, each so many seconds.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sum up what waits: how much, where, since when, and the peers' last words."""
    store = open_store(config)
    asked = Asked(tenant=tenant, domain=domain, to=to, site=site, source=source)
    look = partial(_overview, asked=asked, by=by, limit=limit)
    found = read_now(store.engine, look)
    if as_json:
        say_json([{**asdict(one), "waiting": one.waiting} for one in found.groups])
    elif every is None:
        for line in found.orders:
            say(line)
        table = groups_table(found.groups, by, store.clock.unix_ms())
        say(table if found.groups else "nothing waits")
    else:
        with Live(console=Console(highlight=False, markup=False)) as screen:
            while True:
                table = groups_table(found.groups, by, store.clock.unix_ms())
                screen.update(Group(*found.orders, table), refresh=True)
                time.sleep(every)
                found = read_now(store.engine, look)


def list_queue(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    state: Annotated[
        State | None, typer.Option(help="In this state; corrupt: set aside as such.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List recipients that wait, the oldest message first, the gates that are shut, and
    the reroutes."""
    asked = Asked(tenant=tenant, domain=domain, to=to, site=site, source=source)

    def look(connection: Connection) -> _Listing:
        wanted = _in_state(selection(connection, asked), state)
        entries = view.list_waiting(connection, wanted, limit=limit)
        return _Listing(entries, _orders(connection))

    found = read_now(open_store(config).engine, look)
    if as_json:
        say_json([asdict(entry) for entry in found.entries])
        return
    for line in found.orders:
        say(line)
    say(entries_table(found.entries) if found.entries else "nothing waits")
    if len(found.entries) == limit:
        warn(
            f"these are the first {limit}: more with --limit, a summary with `queue top`"
        )


def show(
    message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Show one message's envelope and the state of each recipient."""
    message_id = MessageId.parse(message)
    engine = open_store(config).engine
    found = read_now(engine, lambda connection: view.show(connection, message_id))
    if found is None:  # or its own row alone is missing: then what is left of it
        entries = read_now(engine, lambda connection: view.why(connection, message_id))
        if not entries:
            raise _no_message(message_id)
        if as_json:
            say_json([asdict(entry) for entry in entries])
            return
        say(f"message {message_id}: its message row is missing; what is left of it:")
        for entry in entries:
            say(reason_line(entry))
        return
    if as_json:
        say_json(asdict(found))
        return
    for line in envelope_lines(found):
        say(line)
    for entry in found.recipients:
        say(reason_line(entry))


def why(
    message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Say for each recipient of a message why it waits or how it ended."""
    message_id = MessageId.parse(message)
    engine = open_store(config).engine
    entries = read_now(engine, lambda connection: view.why(connection, message_id))
    if not entries:
        raise _no_message(message_id)
    if as_json:
        say_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        say(reason_line(entry))


def domain_names(connection: Connection) -> Mapping[str, str]:
    """Return the sending domains' names by their id, as gates name them."""
    return {
        str(one.settings.domain_id): one.settings.name
        for one in list_domains(connection)
    }


@dataclass(frozen=True, slots=True)
class _Overview:
    groups: tuple[summary.Group, ...]
    orders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    entries: tuple[view.QueueEntry, ...]
    orders: tuple[str, ...]


def _overview(
    connection: Connection, *, asked: Asked, by: GroupBy, limit: int
) -> _Overview:
    wanted = selection(connection, asked)
    groups = summary.summary(connection, by, wanted, limit=limit)
    return _Overview(groups, _orders(connection))


def _orders(connection: Connection) -> tuple[str, ...]:
    """The closed gates and the reroutes, a line each."""
    names = domain_names(connection)
    gates = [gate_line(one, names) for one in view.gates(connection)]
    return (*gates, *(reroute_line(one, names) for one in reroutes(connection)))


def _in_state(wanted: Selection, state: State | None) -> Selection:
    if state is None:
        return wanted
    if state is State.CORRUPT:
        return replace(wanted, reason=Reason.CORRUPT)
    return replace(wanted, state=RecipientState(state.value))


def _no_message(message_id: MessageId) -> FormatError:
    return FormatError(f"no message {message_id}: never seen, or past its retention")
