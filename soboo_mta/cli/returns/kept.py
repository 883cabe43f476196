"""`soboo-mta returns list, show, counts`: what came back, as it was kept and read."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.queue.words import moment
from soboo_mta.cli.returns.read import lines_of
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.returned import Kind
from soboo_mta.returns.reader.frames import from_json
from soboo_mta.spool.returned.forwarding import forwarded
from soboo_mta.spool.returned.view import (
    KeptReturn,
    ReturnFilter,
    content,
    count_returns,
    list_returns,
    the_return,
)
from soboo_mta.store.writer import read_now

_UNREAD: Final = "unread"
Tenant = Annotated[str | None, typer.Option("--tenant", help="About a tenant's mail.")]
OfKind = Annotated[
    str | None,
    typer.Option("--kind", help=f"unread, {', '.join(map(str, Kind))}."),
]
OfClass = Annotated[
    str | None, typer.Option("--class", help="Of a bounce: mailbox-full, spam-content.")
]
About = Annotated[str | None, typer.Option("--message", help="About one message.")]
Hours = Annotated[
    int | None, typer.Option("--hours", min=1, help="Received within so many hours.")
]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` shows it.")]


def list_all(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Tenant = None,
    kind: OfKind = None,
    bounce_class: OfClass = None,
    message: About = None,
    hours: Hours = None,
    before: Annotated[
        int | None, typer.Option(help="Older than this number: the next page.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Returns at most.")] = 100,
    as_json: Json = False,
) -> None:
    """List what came back, the newest first."""
    store = open_store(config)
    since = _since(hours, store.clock.unix_ms())
    wanted = _filter(tenant, kind, bounce_class, message, since, before)
    found = read_now(store.engine, lambda at: list_returns(at, wanted, limit=limit))
    if as_json:
        say_json([_values(one) for one in found])
        return
    table = Table("number", "received", "kind", "class", "tenant", "message", "from")
    for one in found:
        table.add_row(
            str(one.returned_id),
            moment(one.received_at),
            one.kind or _UNREAD,
            one.bounce_class or "",
            one.tenant or "",
            "" if one.message_id is None else f"{one.message_id}/{one.position or 0}",
            one.reverse_path or "<>",
        )
    say(table if found else "nothing like that came back")


def show(
    number: Number,
    config: ConfigPath = DEFAULT_CONFIG,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write its octets to standard output.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one return: how it came, what it says, what it is about."""
    store = open_store(config)
    one = read_now(store.engine, lambda at: the_return(at, number))
    if one is None:
        raise FormatError(f"there is no return {number}: see `soboo-mta returns list`")
    if raw:
        octets = read_now(store.engine, lambda at: content(at, number))
        sys.stdout.buffer.write(octets or b"")
        return
    if as_json:
        say_json(_values(one))
        return
    say(f"return {number}, {one.kind or _UNREAD}")
    home = read_now(store.engine, lambda at: forwarded(at, number))
    went = {"went home": f"to {home[0]} as {home[1]}" if home else ""}
    for name, value in {**_facts(one), **went}.items():
        if value:
            say(f"  {name}: {value}")
    if one.kind and one.detail:
        for line in lines_of(from_json(one.kind, one.detail), "  "):
            say(line)


def counts(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Tenant = None,
    hours: Hours = None,
    as_json: Json = False,
) -> None:
    """Count what came back by kind and class."""
    store = open_store(config)
    since = _since(hours, store.clock.unix_ms())
    wanted = _filter(tenant, None, None, None, since, None)
    found = read_now(store.engine, lambda at: count_returns(at, wanted))
    rows = sorted(
        (kind or _UNREAD, bounce_class or "", number)
        for (kind, bounce_class), number in found.items()
    )
    if as_json:
        say_json(
            [
                {"kind": k, "class": c or None, "returns": number}
                for k, c, number in rows
            ]
        )
        return
    table = Table("kind", "class", "returns")
    for kind, bounce_class, number in rows:
        table.add_row(kind, bounce_class, str(number))
    say(table if rows else "nothing came back")


def _filter(
    tenant: str | None,
    kind: str | None,
    bounce_class: str | None,
    message: str | None,
    since: int | None,
    before: int | None,
) -> ReturnFilter:
    if kind not in (None, _UNREAD, *map(str, Kind)):
        raise FormatError(f"there is no kind {kind!r}: {_UNREAD}, {', '.join(Kind)}")
    if bounce_class not in (None, *map(str, BounceClass)):
        raise FormatError(
            f"there is no class {bounce_class!r}: {', '.join(BounceClass)}"
        )
    return ReturnFilter(
        tenant=tenant,
        kind=None if kind == _UNREAD else kind,
        is_unread=kind == _UNREAD,
        bounce_class=bounce_class,
        message_id=None if message is None else MessageId.parse(message),
        since=since,
        before=before,
    )


def _since(hours: int | None, now: int) -> int | None:
    return None if hours is None else now - hours * 3_600_000


def _values(one: KeptReturn) -> dict[str, object]:
    values = asdict(one)
    values["message_id"] = None if one.message_id is None else str(one.message_id)
    values["detail"] = None if one.detail is None else json.loads(one.detail)
    return values


def _facts(one: KeptReturn) -> Mapping[str, str]:
    return {
        "received": f"{moment(one.received_at)} from"
        f" {f'{one.client_name} [{one.client}]'.lstrip()} by {one.protocol}",
        "reverse-path": one.reverse_path or "<>",
        "came to": f"{one.address} ({one.door})",
        "size": f"{one.size} octets",
        "tenant": one.tenant or "",
        "message": ""
        if one.message_id is None
        else f"{one.message_id}, recipient {one.position}",
        "class": one.bounce_class or "",
        "authentication": one.authentication or "",
        "read": f"{one.reads} times" if one.reads > 1 else "",
    }
