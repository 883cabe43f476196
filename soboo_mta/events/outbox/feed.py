"""From the tables to the queues: one batch of what happened, in one transaction each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.events.outbox.cursors import (
    WEBHOOKS,
    Position,
    advance,
    newest,
    the_cursor,
)
from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.events.outbox.queue import put
from soboo_mta.events.outbox.source import Batch, first_at, read_events
from soboo_mta.events.outbox.webhooks import Webhook, active_webhooks
from soboo_mta.store.schema import attempt, event

_SLACK_MS = 600_000  # clocks of several workers, and what waited for its commit


def fan_out(
    connection: Connection, batch: Batch, was: Position, *, now: int, most: int
) -> bool:
    """Queue a batch for the webhooks it concerns and move the cursor from `was` behind it.

    False: the cursor is not there, so that somebody else reads; nothing was done.
    """
    cursor = the_cursor(connection, WEBHOOKS)
    if cursor is None or cursor.position != was:
        return False
    if not advance(connection, cursor, batch.position):
        return False
    for one in active_webhooks(connection):
        wanted = [told for told in batch.events if _concerns(one, told)]
        if wanted:
            put(connection, one, wanted, now=now, most=most)
    return True


@dataclass(frozen=True, slots=True)
class Replay:
    """How far a replay came: what it queued, and where to go on; None at its end.

    `is_full`: there was no room for more.
    """

    queued: int
    after: Position | None
    is_full: bool = False


def replay_start(connection: Connection, since: int) -> Position:
    """Return a place before everything that happened at `since` (unix ms) or later."""
    end, at = newest(connection), since - _SLACK_MS
    return Position(
        first_at(connection, attempt, at, end.attempt_id) - 1,
        first_at(connection, event, at, end.event_id) - 1,
    )


def replay_some(
    connection: Connection,
    to: Webhook,
    after: Position,
    *,
    since: int,
    until: int,
    now: int,
    most: int,
) -> Replay:
    """Queue for a webhook once more what happened from `since` until before `until`, one
    transaction's worth of rows; they are marked as replayed and keep their event ids."""
    batch = read_events(connection, after, newest(connection))
    wanted = [
        one for one in batch.events if since <= one.at < until and _is_its(to, one)
    ]
    queued = put(connection, to, wanted, now=now, most=most, is_replayed=True)
    if queued < len(wanted):
        return Replay(queued, None, is_full=True)
    is_over = not batch.is_full or _are_after(batch.events, until + _SLACK_MS)
    return Replay(queued, None if is_over else batch.position)


def _concerns(to: Webhook, told: ToldEvent) -> bool:
    return told.at >= to.since and _is_its(to, told)


def _is_its(to: Webhook, told: ToldEvent) -> bool:
    """What a report of ours came to is no event of a message that the tenant sent."""
    return told.tenant == to.tenant and to.wants(told.type) and not told.is_report


def _are_after(events: Sequence[ToldEvent], at: int) -> bool:
    return bool(events) and events[-1].at > at
