"""`soboo-mta queue reroute`: send mail to other next hops, by one row, and back again."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.queue.moves import Work, why_nothing
from soboo_mta.cli.queue.options import (
    Asked,
    Because,
    Json,
    OfDomain,
    OfTenant,
    OneMessage,
    ToDomain,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.errors import FormatError
from soboo_mta.spool.operator import moves
from soboo_mta.spool.operator.orders import Reroute, add_reroute, undo_reroute
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.transfer.routing.rules import NextHop


def reroute(
    message: OneMessage = None,
    config: ConfigPath = DEFAULT_CONFIG,
    via: Annotated[
        list[str] | None,
        typer.Option(help="host:port, tried in the order given; several times."),
    ] = None,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    standing: Annotated[
        bool, typer.Option("--standing", help="What comes later too.")
    ] = False,
    undo: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Take this reroute back.")
    ] = None,
    because: Because = "",
    as_json: Json = False,
) -> None:
    """Send mail to other next hops: what waits now, or with --standing what comes later
    too. It is due at once, and signed as ever. `--undo NUMBER` takes it back."""
    if undo is not None:
        _undo(config, undo, because, as_json=as_json)
        return
    asked = Asked(message=message, tenant=tenant, domain=domain, to=to)
    if not via:
        raise FormatError("say where to: --via HOST:PORT, several in the order to try")
    if standing and message is not None:
        raise FormatError("a message has no later mail: leave --standing out")
    work = Work.on(config, asked, because)
    hops = tuple(str(NextHop.parse(text)) for text in via)
    waiting = read_now(work.store.engine, lambda at: moves.states(at, work.wanted))
    if not standing and not set(waiting) & {"queued", "deferred", "held", "active"}:
        warn(f"nothing to reroute: {why_nothing(asked, waiting)}")
        raise typer.Exit(FAULT)
    numbers = [_add(work, order) for order in _orders(work, hops, standing=standing)]
    due = work.retry()
    if as_json:
        say_json({"reroutes": numbers, "next_hops": hops, "recipients": due})
        return
    for number in numbers:
        say(f"reroute {number}: {asked} goes to {', '.join(hops)}")
        say(f"take it back with: soboo-mta queue reroute --undo {number}")
    say(f"made due now, recipients: {due}")


def _orders(work: Work, hops: tuple[str, ...], *, standing: bool) -> list[Reroute]:
    """One row; for a name that several tenants send from, one for each."""
    wanted = work.wanted
    order = Reroute(
        tenant=wanted.tenant,
        destination=wanted.destination,
        message_id=wanted.message_id,
        accepted_before=None if standing or wanted.message_id else work.now + 1,
        next_hops=hops,
        explanation=work.because,
        since=work.now,
    )
    if wanted.domain_ids is None:
        return [order]
    return [replace(order, domain_id=one) for one in wanted.domain_ids]


def _add(work: Work, order: Reroute) -> int:
    def write(connection: Connection) -> int:
        number = add_reroute(connection, order)
        event = recorded(
            EventKind.REROUTE_ADDED,
            at=work.now,
            actor=work.actor,
            tenant=order.tenant,
            message_id=order.message_id,
            detail={
                "number": number,
                "mail": str(work.asked),
                "next_hops": list(order.next_hops),
                "because": work.because,
            },
        )
        connection.execute(event.clause, list(event.rows))
        return number

    return write_now(work.store.engine, write)


def _undo(config: Path, number: int, because: str, *, as_json: bool) -> None:
    store = open_store(config)

    def write(connection: Connection) -> bool:
        if not undo_reroute(connection, number):
            return False
        event = recorded(
            EventKind.REROUTE_UNDONE,
            at=store.clock.unix_ms(),
            actor=actor(),
            detail={"number": number, "because": because},
        )
        connection.execute(event.clause, list(event.rows))
        return True

    if not write_now(store.engine, write):
        warn(
            f"there is no reroute {number}: `soboo-mta queue list` shows those that stand"
        )
        raise typer.Exit(FAULT)
    if as_json:
        say_json({"undone": number})
    else:
        say(f"reroute {number} is taken back: its mail goes by the routes again")
