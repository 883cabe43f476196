"""`soboo-mta webhook disable`, `enable` and `remove`."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    actor,
    be_sure,
    open_store,
    say,
)
from soboo_mta.cli.webhooks.words import Number
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.webhooks import (
    disable_webhook,
    enable_webhook,
    note,
    remove_webhook,
    the_webhook,
)
from soboo_mta.store.writer import write_now


def disable(
    number: Number,
    config: ConfigPath = DEFAULT_CONFIG,
    because: Annotated[str, typer.Option(help="Why, in a few words.")] = "by hand",
) -> None:
    """Tell a webhook nothing more. What waits for it is let go; `replay` brings it back."""
    store = open_store(config)
    now = store.clock.unix_ms()

    def write(at: Connection) -> bool:
        the_webhook(at, number)
        return disable_webhook(at, number, because=because, actor=actor(), now=now)

    changed = write_now(store.engine, write)
    say(f"disabled webhook {number}" if changed else f"webhook {number} was disabled")


def enable(number: Number, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Tell a webhook again what happens, from now on."""
    store = open_store(config)
    now = store.clock.unix_ms()

    def write(at: Connection) -> bool:
        one = the_webhook(at, number)
        changed = enable_webhook(at, number, now=now)
        if changed:
            note(at, EventKind.WEBHOOK_ENABLED, one, actor=actor(), now=now)
        return changed

    changed = write_now(store.engine, write)
    say(f"enabled webhook {number}" if changed else f"webhook {number} was enabled")


def remove(
    number: Number,
    config: ConfigPath = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a webhook, its secrets, its log and what waits for it."""
    store = open_store(config)
    now = store.clock.unix_ms()
    if not yes:
        be_sure(f"Remove webhook {number} with all that waits for it?")

    def write(at: Connection) -> None:
        one = the_webhook(at, number)
        remove_webhook(at, number)
        note(at, EventKind.WEBHOOK_REMOVED, one, actor=actor(), now=now)

    write_now(store.engine, write)
    say(f"removed webhook {number}")
