"""`soboo-mta key signed`: what left with a key, and may still be on its way."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.events.signed import SignedCount, signed_with
from soboo_mta.mail.ids import KeyId
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.signing.keys import find_key
from soboo_mta.tenancy.signing.slots import DAY_MS

_SHOWN = 40  # lines of the table; JSON has all


def show_signed(
    key: Annotated[int, typer.Argument(metavar="KEY", help="Its number.")],
    config: ConfigPath = DEFAULT_CONFIG,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=3650, help="How far back; default: while a signature counts."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count what was signed with a key, by day (UTC) and destination.

    Delivered: the next hop took it. Unanswered: some of it may have arrived. Refused: it
    went no further. Waiting: still here, signed anew when it leaves.
    """
    store = open_store(config)
    key_id = KeyId(key)
    read_now(store.engine, lambda connection: find_key(connection, key_id))
    counts = signed_lately(store, [key_id], days=days)
    if as_json:
        say_json([asdict(one) for one in counts])
    else:
        say(signed_table(counts))


def signed_lately(
    store: CliStore, key_ids: Sequence[KeyId], *, days: int | None = None
) -> tuple[SignedCount, ...]:
    """Return what was signed with these keys in the last days; None: while a signature
    of theirs counts."""
    life = store.settings.signing.signature_life.total_seconds() * 1_000
    since = store.clock.unix_ms() - (int(life) if days is None else days * DAY_MS)
    return read_now(
        store.engine, lambda connection: signed_with(connection, key_ids, since=since)
    )


def signed_table(counts: Sequence[SignedCount]) -> Table | str:
    """The counts as a table, the busiest lines of it; a sentence where there are none."""
    if not counts:
        return "no attempt of that time was signed with it"
    table = Table(
        "day", "destination", "delivered", "unanswered", "refused", "waiting here"
    )
    for one in counts[:_SHOWN]:
        numbers = (one.delivered, one.unanswered, one.refused, one.waiting)
        table.add_row(one.day, one.destination, *(str(n or "") for n in numbers))
    rest = counts[_SHOWN:]
    if rest:
        numbers = (
            sum(one.delivered for one in rest),
            sum(one.unanswered for one in rest),
            sum(one.refused for one in rest),
            sum(one.waiting for one in rest),
        )
        table.add_row("", f"{len(rest)} lines more", *(str(n or "") for n in numbers))
    return table
