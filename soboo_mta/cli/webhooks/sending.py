"""`soboo-mta webhook test` and `replay`: events that somebody asks for."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.webhooks.words import Number, answer_of
from soboo_mta.daemon.outlets.courier import delivery_of
from soboo_mta.daemon.outlets.duty import webhook_doors
from soboo_mta.daemon.outlets.secrets import opened
from soboo_mta.events.outbox.cursors import Position
from soboo_mta.events.outbox.feed import replay_some, replay_start
from soboo_mta.events.outbox.form import TEST_TYPE, ToldEvent, event_id_of
from soboo_mta.events.outbox.journal import Delivery, log_deliveries
from soboo_mta.events.outbox.queue import Waiting
from soboo_mta.events.outbox.webhooks import Webhook, sealed_secrets, the_webhook
from soboo_mta.formats.webhooks import SigningSecret, signed_fields
from soboo_mta.mail.errors import FormatError
from soboo_mta.store.writer import read_now, write_now


def send_test(number: Number, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Send a webhook a test event now, and show its answer.

    Exit code 1 where it is not accepted. Nothing is tried again.
    """
    store = open_store(config)
    master, now = store.master, store.clock.unix_ms()

    def read(at: Connection) -> tuple[Webhook, Sequence[tuple[int, bytes]]]:
        return the_webhook(at, number), sealed_secrets(at, number, now=now)

    one, sealed = read_now(store.engine, read)
    signers = opened(master, number, sealed)
    sent = asyncio.run(_sent(store, one, signers, _test_of(one, now)))
    write_now(store.engine, lambda at: log_deliveries(at, [sent]))
    say(f"{answer_of(sent)} ({sent.duration_ms} ms)")
    if sent.status is None or not 200 <= sent.status < 300:
        raise typer.Exit(FAULT)


def _test_of(one: Webhook, now: int) -> Waiting:
    event = ToldEvent(
        event_id=event_id_of(TEST_TYPE, one.number, now, secrets.token_hex(8)),
        type=TEST_TYPE,
        at=now,
        tenant=one.tenant,
        own={"actor": "operator", "detail": {"webhook": one.number}},
    )
    return Waiting(
        row_id=0,
        webhook=one.number,
        lane="",
        event_id=event.event_id,
        type=event.type,
        body=event.text(),
        queued_at=now,
        attempts=0,
    )


async def _sent(
    store: CliStore, one: Webhook, signers: Sequence[SigningSecret], what: Waiting
) -> Delivery:
    door = webhook_doors(store.settings, store.clock)(one.url)
    body, began = what.body.encode("ascii"), time.monotonic()
    try:
        seconds = what.queued_at // 1_000
        answer = await door.post(
            body, signed_fields(what.event_id, seconds, body, signers)
        )
    finally:
        door.close()
    return delivery_of(what, answer, at=what.queued_at, took=time.monotonic() - began)


def replay(
    number: Number,
    since: Annotated[
        str, typer.Option("--since", help="As 2026-01-31T12:00:00Z, inclusive.")
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    until: Annotated[
        str, typer.Option("--until", help="Likewise, exclusive; without it: now.")
    ] = "",
) -> None:
    """Queue once more what happened in a time: marked as replayed, with the same ids.

    As far back as events are kept ([retention] keep). Exit code 1 where not all of it
    finds room.
    """
    store = open_store(config)
    now = store.clock.unix_ms()
    first, last = _moment(since), _moment(until) if until else now
    if first >= last:
        raise FormatError("--since is not before --until: nothing happened in between")
    one = read_now(store.engine, lambda at: the_webhook(at, number))
    if one.disabled_at is not None:
        raise FormatError(f"webhook {number} is disabled: `webhook enable` it first")
    after: Position | None = read_now(store.engine, lambda at: replay_start(at, first))
    some = partial(
        replay_some,
        to=one,
        since=first,
        until=last,
        now=now,
        most=store.settings.webhooks.max_waiting,
    )
    queued, is_full = 0, False
    while after is not None:
        done = write_now(store.engine, partial(some, after=after))
        queued, after, is_full = queued + done.queued, done.after, done.is_full
    say(f"queued {queued} events for webhook {number}")
    if is_full:
        most = store.settings.webhooks.max_waiting
        warn(f"not all: {most} events wait already ([webhooks] max_waiting)")
        raise typer.Exit(FAULT)


def _moment(text: str) -> int:
    """Unix ms of a time as RFC 3339 writes it; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise FormatError(
            f"{text[:40]!r} is no time: write it as 2026-01-31T12:00:00Z"
        ) from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return int(at.timestamp() * 1_000)
