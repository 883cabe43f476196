"""Reads `attempt` and `event` rows as events to be told, in the order they happened."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, bindparam, select

from soboo_mta.events.outbox.cursors import Position
from soboo_mta.events.outbox.form import ToldEvent, event_id_of
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.store.schema import attempt, event, message, recipient

READ_AT_ONCE = 500  # rows: one transaction of the reader that follows
_BY_HAND = "cli:"  # an actor: the rest is an operator's user name, no tenant's business


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events, and the position once they are told. `is_full`: there may be more."""

    events: Sequence[ToldEvent]
    position: Position
    is_full: bool


def read_events(
    connection: Connection,
    after: Position,
    horizon: Position,
    *,
    most: int = READ_AT_ONCE,
) -> Batch:
    """Return what happened after a position, up to the horizon, the earliest first.

    Each table's rows stay in the order of their ids; between the tables time decides, as
    the workers' clocks tell it.
    """
    attempts = _rows(
        connection, _ATTEMPTS, after.attempt_id, horizon.attempt_id, most=most
    )
    events = _rows(connection, _EVENTS, after.event_id, horizon.event_id, most=most)
    is_full = len(attempts) == most or len(events) == most
    told: list[ToldEvent] = []
    last_attempt, last_event = after.attempt_id, after.event_id
    for table, row in _merged(attempts, events, most):
        if table is attempt:
            told.append(_of_attempt(row))
            last_attempt = row.id
        else:
            told.append(_of_event(row))
            last_event = row.id
    position = Position(last_attempt, last_event)
    return Batch(told, position if is_full else _farthest(position, horizon), is_full)


def first_at(connection: Connection, table: Table, at: int, newest: int) -> int:
    """Return an id of the table before which nothing happened at `at` or later (unix ms),
    as far as times grow with ids."""
    low, high = 1, newest + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_FROM[table.name], {"after": middle}).first()
        if row is None or row.at >= at:
            high = middle
        else:
            low = middle + 1
    return low


def _farthest(position: Position, horizon: Position) -> Position:
    """All was read: gaps in the ids need not be looked at again."""
    return Position(
        max(position.attempt_id, horizon.attempt_id),
        max(position.event_id, horizon.event_id),
    )


# Rows as the driver gives them: Any.
def _rows(
    connection: Connection, query: Select[Any], after: int, upto: int, *, most: int
) -> Sequence[Row[Any]]:
    if after >= upto:
        return ()
    return connection.execute(query, {"after": after, "upto": upto, "most": most}).all()


def _merged(
    attempts: Sequence[Row[Any]], events: Sequence[Row[Any]], most: int
) -> Iterator[tuple[Table, Row[Any]]]:
    """Both by time. Where one list was cut off and is used up, what else there is may be
    later than what is missing: that waits."""
    one, two = 0, 0
    while one < len(attempts) or two < len(events):
        if one == most or two == most:
            return
        if two == len(events) or (
            one < len(attempts) and attempts[one].at <= events[two].at
        ):
            yield attempt, attempts[one]
            one += 1
        else:
            yield event, events[two]
            two += 1


def _of_attempt(row: Row[Any]) -> ToldEvent:
    return ToldEvent(
        event_id=event_id_of("attempt", row.id, row.at, row.message_id, row.position),
        type=row.outcome,
        at=row.at,
        tenant=None if row.tenant_id is None else TenantId(row.tenant_id),
        message=MessageId(row.message_id),
        header_message_id=row.header_message_id,
        recipient=row.address,
        domain=None if row.author is None else row.author.rpartition("@")[2],
        own={
            "reply": row.reply,
            "reason": row.reason,
            "host": row.host,
            "source": row.source,
            "tls": row.tls,
            "duration_ms": row.duration_ms,
        },
        is_report=row.domain_id is not None and row.domain_id < 0,
    )


def _of_event(row: Row[Any]) -> ToldEvent:
    detail = json.loads(row.detail)
    to = detail.get("recipient") if isinstance(detail, dict) else None
    by_hand = row.actor.startswith(_BY_HAND)
    return ToldEvent(
        event_id=event_id_of("event", row.id, row.at, row.kind, row.message_id or ""),
        type=row.kind,
        at=row.at,
        tenant=None if row.tenant_id is None else TenantId(row.tenant_id),
        message=None if row.message_id is None else MessageId(row.message_id),
        header_message_id=row.header_message_id,
        recipient=to if isinstance(to, str) else None,
        domain=row.domain,
        own={"actor": "operator" if by_hand else row.actor, "detail": detail},
    )


_ATTEMPTS = (
    select(
        attempt.c.id,
        attempt.c.message_id,
        attempt.c.position,
        attempt.c.at,
        attempt.c.outcome,
        attempt.c.reason,
        attempt.c.reply,
        attempt.c.host,
        attempt.c.source,
        attempt.c.tls,
        attempt.c.duration_ms,
        message.c.tenant_id,
        message.c.domain_id,
        message.c.author,
        message.c.header_message_id,
        recipient.c.address,
    )
    .join(message, message.c.id == attempt.c.message_id, isouter=True)
    .join(
        recipient,
        (recipient.c.message_id == attempt.c.message_id)
        & (recipient.c.position == attempt.c.position),
        isouter=True,
    )
    .where(attempt.c.id > bindparam("after"), attempt.c.id <= bindparam("upto"))
    .order_by(attempt.c.id)
    .limit(bindparam("most"))
)
_EVENTS = (
    select(event, message.c.header_message_id)
    .join(message, message.c.id == event.c.message_id, isouter=True)
    .where(event.c.id > bindparam("after"), event.c.id <= bindparam("upto"))
    .order_by(event.c.id)
    .limit(bindparam("most"))
)
_FROM = {
    table.name: select(table.c.at)
    .where(table.c.id >= bindparam("after"))
    .order_by(table.c.id)
    .limit(1)
    for table in (attempt, event)
}
