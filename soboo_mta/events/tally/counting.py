"""Adds up what was delivered and complained of, behind a cursor of its own.

Nothing is added to a settlement: `attempt` and `event` rows are read once they are there,
grouped by the store, and the cursor moves in the transaction that keeps the sums. A
complaint is of the day on which its message was delivered, so that each is set against the
deliveries it is one of.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import (
    Cursor,
    Position,
    advance,
    begin,
    the_cursor,
)
from soboo_mta.store.schema import attempt, event, message, sent_tally

CURSOR: Final = "tally"
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 5_000
"""Rows of a table that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is counted together: one day's mail of a domain by one way."""

    day: int  # UTC, since 1970
    tenant: str
    domain_id: int
    source: str
    provider: str
    plan_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Sums of what happened between a cursor and `position`."""

    delivered: Counter[Part]
    complaints: Counter[Part]
    position: Position
    is_full: bool  # there may be more


def begin_counting(connection: Connection) -> None:
    """Let counting begin with the oldest row there is, where it never began."""
    if the_cursor(connection, CURSOR) is None:
        row = connection.execute(_OLDEST).one()
        at = Position((row.attempt_id or 1) - 1, (row.event_id or 1) - 1)
        begin(connection, CURSOR, since=0, at=at)


def read_count(
    connection: Connection,
    cursor: Cursor,
    horizon: Position,
    provider_of: Callable[[str], str],
) -> Count:
    """Return what happened after the cursor, up to the horizon.

    `provider_of` names the provider of a next hop's host, "" for none it knows.
    """
    was = cursor.position
    upto = Position(
        max(was.attempt_id, min(was.attempt_id + AT_ONCE, horizon.attempt_id)),
        max(was.event_id, min(was.event_id + AT_ONCE, horizon.event_id)),
    )
    return Count(
        delivered=_delivered(connection, was, upto, provider_of),
        complaints=_complaints(connection, was, upto, provider_of),
        position=upto,
        is_full=upto.attempt_id < horizon.attempt_id
        or upto.event_id < horizon.event_id,
    )


def keep_count(connection: Connection, cursor: Cursor, count: Count) -> bool:
    """Add the sums and move the cursor; False, and nothing added, where it has moved."""
    if not advance(connection, cursor, count.position):
        return False
    rows = [
        {
            "day": part.day,
            "tenant_id": part.tenant,
            "domain_id": part.domain_id,
            "source": part.source,
            "provider": part.provider,
            "plan_id": part.plan_id,
            "delivered": count.delivered[part],
            "complaints": count.complaints[part],
        }
        for part in (count.delivered | count.complaints)
    ]
    if rows:
        connection.execute(_ADD, rows)
    return True


def _delivered(
    connection: Connection,
    after: Position,
    upto: Position,
    provider_of: Callable[[str], str],
) -> Counter[Part]:
    found = Counter[Part]()
    if after.attempt_id < upto.attempt_id:
        span = {"after": after.attempt_id, "upto": upto.attempt_id}
        for row in connection.execute(_DELIVERED, span):
            part = Part(
                day=row.day,
                tenant=row.tenant_id,
                domain_id=row.domain_id,
                source=row.source,
                provider=provider_of(host_name(row.host)),
                plan_id=row.plan_id or 0,
            )
            found[part] += row.times
    return found


def host_name(host: str) -> str:
    """Return the name in "name[address]:port"."""
    return host.partition("[")[0].lower()


def _complaints(
    connection: Connection,
    after: Position,
    upto: Position,
    provider_of: Callable[[str], str],
) -> Counter[Part]:
    found = Counter[Part]()
    if after.event_id < upto.event_id:
        span = {"after": after.event_id, "upto": upto.event_id}
        known: dict[int, set[int]] = {}  # looked up once: anybody may repeat a report
        for row in connection.execute(_COMPLAINED, span).all():
            said = _Said.of(row.detail)
            if not said.is_proved:
                continue
            if row.message_id not in known:
                known[row.message_id] = _said_before(
                    connection, row.message_id, before=row.id
                )
            if said.position not in known[row.message_id]:
                known[row.message_id].add(said.position)
                sent_at = connection.scalar(_SENT_AT, {"this": said.attempt})
                part = Part(
                    day=(sent_at or row.at) // DAY_MS,
                    tenant=row.tenant_id,
                    domain_id=row.domain_id,
                    source="",
                    provider=provider_of(host_name(said.host)),
                )
                found[part] += 1
    return found


@dataclass(frozen=True, slots=True)
class _Said:
    """What the event of a complaint holds."""

    position: int
    host: str
    is_proved: bool
    attempt: int

    @classmethod
    def of(cls, detail: str) -> "_Said":
        values = json.loads(detail)
        return cls(
            values.get("position", -1),
            values.get("host") or "",
            values.get("proved") is True,
            values.get("attempt") or 0,
        )


def _said_before(connection: Connection, message_id: int, *, before: int) -> set[int]:
    """Which recipients complained of a message before: once counts. What was not
    proved did not count, and takes nothing's place."""
    this = {"about": message_id, "before": before}
    earlier = map(_Said.of, connection.scalars(_EARLIER, this))
    return {one.position for one in earlier if one.is_proved}


_OLDEST = select(
    select(func.min(attempt.c.id)).scalar_subquery().label("attempt_id"),
    select(func.min(event.c.id)).scalar_subquery().label("event_id"),
)
_DELIVERED = (
    select(
        (attempt.c.at // DAY_MS).label("day"),
        message.c.tenant_id,
        message.c.domain_id,
        attempt.c.source,
        attempt.c.host,
        attempt.c.plan_id,
        func.count().label("times"),
    )
    .join(message, message.c.id == attempt.c.message_id)
    .where(
        attempt.c.id > bindparam("after"),
        attempt.c.id <= bindparam("upto"),
        attempt.c.outcome == text("'delivered'"),
        message.c.domain_id > 0,  # reports of ours are nobody's mail
    )
    .group_by(
        text("day"),
        message.c.tenant_id,
        message.c.domain_id,
        attempt.c.source,
        attempt.c.host,
        attempt.c.plan_id,
    )
)
_COMPLAINED = (
    select(
        event.c.id,
        event.c.at,
        event.c.tenant_id,
        event.c.message_id,
        event.c.detail,
        message.c.domain_id,
    )
    .join(message, message.c.id == event.c.message_id)
    .where(
        event.c.id > bindparam("after"),
        event.c.id <= bindparam("upto"),
        event.c.kind == EventKind.COMPLAINED.value,
        message.c.domain_id > 0,
    )
    .order_by(event.c.id)
)
_EARLIER = select(event.c.detail).where(
    event.c.message_id == bindparam("about"),
    event.c.kind == EventKind.COMPLAINED.value,
    event.c.id < bindparam("before"),
)
_SENT_AT = select(attempt.c.at).where(attempt.c.id == bindparam("this"))
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert_or(sent_tally)
_ADD = _insert.on_conflict_do_update(
    index_elements=list(sent_tally.primary_key.columns.keys()),
    set_={
        "delivered": sent_tally.c.delivered + _insert.excluded.delivered,
        "complaints": sent_tally.c.complaints + _insert.excluded.complaints,
    },
)
