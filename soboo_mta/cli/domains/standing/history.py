"""`soboo-mta domain history`: what happened to a domain, and why."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption
from soboo_mta.cli.queue.words import moment
from soboo_mta.daemon.domains.keeping import move_text
from soboo_mta.events.history import PastEvent, domain_history
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import list_domains


def history(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="The last so many events.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Show what happened to a domain: records, capabilities, keys, gates; oldest first.

    Released domains have theirs too. Events are kept for [retention] keep.
    """
    name = Domain.parse(domain)
    owner = None if tenant is None else TenantId(tenant)

    def look(connection: Connection) -> tuple[tuple[PastEvent, ...], bool]:
        told = domain_history(connection, name, tenant=owner, limit=limit)
        is_there = bool(list_domains(connection, tenant=owner, name=name))
        return told, is_there

    told, is_there = read_now(open_store(config).engine, look)
    if not told and not is_there:
        whose = f" of tenant {tenant}" if tenant else ""
        raise TenancyError(
            f"nothing is known of a domain {name}{whose}: see `soboo-mta domain list`"
        )
    if as_json:
        say_json([_event_values(one) for one in told])
        return
    if not told:
        say(f"no event about {name} is kept")
        return
    say(_table(told))
    if len(told) == limit:
        say(f"these are the last {limit}: more with --limit")


def _event_values(event: PastEvent) -> dict[str, object]:
    return {
        "at": event.at,
        "event": event.kind,
        "tenant": event.tenant,
        "by": event.actor,
        "detail": event.detail,
    }


def _table(told: tuple[PastEvent, ...]) -> Table:
    table = Table("at", "tenant", "event", "by", show_lines=True)
    table.add_column("what", overflow="fold")
    for one in told:
        table.add_row(
            moment(one.at),
            one.tenant or "",
            one.kind,
            one.actor,
            "\n".join(_lines(one)),
        )
    return table


def _lines(event: PastEvent) -> Iterator[str]:
    for key, value in event.detail.items():
        match key, value:
            case "moves", list():
                yield from map(move_text, value)
            case _, list():
                yield from map(str, value)
            case _:
                yield f"{key}: {value}"
