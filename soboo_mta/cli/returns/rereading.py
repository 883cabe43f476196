"""`soboo-mta returns reread`: what nobody recognised, once more."""

from typing import Annotated

import typer

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store, say
from soboo_mta.mail.errors import FormatError
from soboo_mta.spool.returned.claiming import reopen
from soboo_mta.store.writer import write_now

_HOUR_MS = 3_600_000


def reread(
    number: Annotated[
        int | None,
        typer.Argument(metavar="NUMBER", help="As `list` shows it. Default: all."),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    hours: Annotated[
        int | None,
        typer.Option("--hours", min=1, help="Received within so many hours."),
    ] = None,
) -> None:
    """Let the relay read what nobody recognised once more: after a new release, or where
    its readers could not be started. What follows from it follows now."""
    store = open_store(config)
    now = store.clock.unix_ms()
    since = 0 if hours is None else now - hours * _HOUR_MS
    total = 0
    while found := write_now(
        store.engine,
        lambda at: reopen(at, now=now, returned_id=number, since=since),
    ):
        total += len(found)
    if number is not None and not total:
        raise FormatError(
            f"return {number} is not there, or is recognised: see `soboo-mta returns list"
            " --kind unrecognised`"
        )
    say(f"{total} returns are read again" if total else "nothing is unrecognised")
