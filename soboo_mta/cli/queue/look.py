"""Looks at the queue: `top`, `list`, `show`, `why`."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
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
    entry_class,
    envelope_lines,
    gate_line,
    groups_table,
    reason_line,
    reroute_line,
)
from soboo_mta.events.trace import last_hosts
from soboo_mta.mail.bounce_class import BounceClass
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
    message_id, store = MessageId.parse(message), open_store(config)
    found = read_now(store.engine, lambda one: view.show(one, message_id))
    told = _told(store, message_id)
    if found is None:  # or its own row alone is missing: then what is left of it
        if not as_json:
            say(f"message {message_id}: its message row is missing; what is left:")
        _say(told, as_json=as_json)
    elif as_json:
        say_json({**asdict(found), "recipients": [one.facts for one in told]})
    else:
        for line in envelope_lines(found):
            say(line)
        _say(told, as_json=False)


def why(
    message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Say for each recipient of a message why it waits or how it ended."""
    _say(_told(open_store(config), MessageId.parse(message)), as_json=as_json)


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


@dataclass(frozen=True, slots=True)
class _Told:
    """A recipient, and the class of its refusal where there is one."""

    entry: view.QueueEntry
    bounce_class: BounceClass | None

    @property
    def facts(self) -> dict[str, object]:
        return {**asdict(self.entry), "bounce_class": self.bounce_class}


def _told(store: CliStore, message_id: MessageId) -> tuple[_Told, ...]:
    rules = store.settings.bounce_rules()

    def look(connection: Connection) -> tuple[_Told, ...]:
        hosts = last_hosts(connection, message_id)
        return tuple(
            _Told(entry, entry_class(entry, rules, hosts.get(entry.position, "")))
            for entry in view.why(connection, message_id)
        )

    found = read_now(store.engine, look)
    if not found:
        raise FormatError(f"no message {message_id}: never seen, or past its retention")
    return found


def _say(recipients: Iterable[_Told], *, as_json: bool) -> None:
    if as_json:
        say_json([one.facts for one in recipients])
        return
    for one in recipients:
        say(reason_line(one.entry, one.bounce_class))
