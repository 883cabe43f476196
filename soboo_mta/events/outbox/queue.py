"""What waits for webhooks: put in, due, settled. At least once, in order within a lane.

A row is deleted once it was accepted or given up, and not before: what was under way when a
process died is delivered again, under the same event id. The first row of a lane is its
head; the others wait until it is gone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.events.outbox.webhooks import Webhook
from soboo_mta.store.schema import outbox, webhook

_LANES_A_QUERY = 500  # bound parameters are limited (SQLite: 32,766)
_DROPPED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One event on its way to one webhook. `attempts` were made before."""

    row_id: int
    webhook: int
    lane: str
    event_id: str
    type: str
    body: str
    queued_at: int  # unix ms
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It leaves the queue: accepted, or given up, which counts as dropped."""

    waiting: Waiting
    is_dropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """It is due again at `due_at` (unix ms), and its lane waits with it."""

    waiting: Waiting
    due_at: int


def put(
    connection: Connection,
    to: Webhook,
    events: Sequence[ToldEvent],
    *,
    now: int,
    most: int,
    is_replayed: bool = False,
) -> int:
    """Queue events for a webhook, in their order; return for how many there was room.

    At most `most` wait: the rest is counted as dropped.
    """
    room = max(0, most - waiting_count(connection, to.number, most))
    taken = events[:room]
    if taken:
        until = _lanes_due(connection, to.number, {one.lane for one in taken}, now)
        rows = [
            {
                "webhook_id": to.number,
                "lane": one.lane,
                "event_id": one.event_id,
                "type": one.type,
                "body": one.text(is_replayed=is_replayed),
                "queued_at": now,
                "due_at": until.get(one.lane, now),
                "attempts": 0,
            }
            for one in taken
        ]
        connection.execute(_PUT, rows)
    if len(taken) < len(events) and not is_replayed:
        _count_dropped(connection, {to.number: len(events) - len(taken)})
    return len(taken)


def waiting_count(connection: Connection, number: int, most: int) -> int:
    """Return how many events wait for a webhook, counted up to `most`."""
    return int(connection.scalar(_COUNT, {"this": number, "most": most}) or 0)


def ready_webhooks(connection: Connection, now: int) -> tuple[int, ...]:
    """Return the active webhooks for which something is due, who waits longest first."""
    return tuple(connection.scalars(_READY, {"now": now}))


def due(
    connection: Connection, number: int, now: int, limit: int
) -> tuple[Waiting, ...]:
    """Return heads of lanes that are due for a webhook, at most `limit`."""
    rows = connection.execute(_DUE, {"this": number, "now": now, "most": limit})
    return tuple(
        Waiting(
            row_id=row.id,
            webhook=row.webhook_id,
            lane=row.lane,
            event_id=row.event_id,
            type=row.type,
            body=row.body,
            queued_at=row.queued_at,
            attempts=row.attempts,
        )
        for row in rows
    )


def settle(connection: Connection, ends: Iterable[Done | Again], *, now: int) -> None:
    """Note what became of deliveries."""
    dropped: Counter[int] = Counter()
    gone: list[dict[str, object]] = []
    for end in ends:
        waiting = end.waiting
        if isinstance(end, Again):
            _put_off(connection, waiting, end.due_at)
            continue
        gone.append({"this": waiting.row_id})
        if end.is_dropped:
            dropped[waiting.webhook] += 1
            _free(connection, waiting, now)
    if gone:
        connection.execute(_GONE, gone)
    _count_dropped(connection, dropped)


def drop_old(connection: Connection, before: int) -> int:
    """Drop and count what was queued before that (unix ms), some of it; return how many."""
    oldest = connection.execute(_OLDEST).all()
    rows = [row for row in oldest if row.queued_at < before]
    if rows:
        connection.execute(_GONE, [{"this": row.id} for row in rows])
        _count_dropped(connection, Counter(row.webhook_id for row in rows))
    return len(rows)


def call_back(connection: Connection, *, latest: int, now: int) -> int:
    """Make due what waits for later than `latest`: the clock was set back since."""
    changed = connection.execute(
        update(outbox).where(outbox.c.due_at > latest).values(due_at=now)
    )
    return changed.rowcount


def _lanes_due(
    connection: Connection, number: int, lanes: set[str], now: int
) -> dict[str, int]:
    """Until when lanes wait whose head failed: who joins them is not looked at before."""
    wanted = sorted(lanes - {""})
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _LANES_A_QUERY):
        rows = connection.execute(
            select(outbox.c.lane, func.max(outbox.c.due_at).label("due_at"))
            .where(
                outbox.c.webhook_id == number,
                outbox.c.lane.in_(wanted[start : start + _LANES_A_QUERY]),
                outbox.c.due_at > now,
            )
            .group_by(outbox.c.lane)
        )
        found |= {row.lane: row.due_at for row in rows}
    return found


def _put_off(connection: Connection, waiting: Waiting, due_at: int) -> None:
    row = {"this": waiting.row_id, "due": due_at, "tries": waiting.attempts + 1}
    connection.execute(_AGAIN, row)
    if waiting.lane:
        lane = {"hook": waiting.webhook, "its": waiting.lane, "due": due_at}
        connection.execute(_LANE_LATER, lane)


def _free(connection: Connection, waiting: Waiting, now: int) -> None:
    """Its head was given up: the lane goes on at once."""
    if waiting.lane:
        lane = {"hook": waiting.webhook, "its": waiting.lane, "due": now}
        connection.execute(_LANE_NOW, lane)


def _count_dropped(connection: Connection, by_webhook: Mapping[int, int]) -> None:
    rows = [{"this": one, "more": many} for one, many in by_webhook.items()]
    if rows:
        connection.execute(_DROPPED, rows)


_PUT = insert(outbox)
_COUNT = select(func.count()).select_from(
    select(literal_column("1").label("one"))
    .select_from(outbox)
    .where(outbox.c.webhook_id == bindparam("this"))
    .limit(bindparam("most"))
    .subquery()
)
_earliest = (
    select(func.min(outbox.c.due_at))
    .where(outbox.c.webhook_id == webhook.c.id)
    .correlate(webhook)
    .scalar_subquery()
)
_READY = (
    select(webhook.c.id)
    .where(webhook.c.disabled_at.is_(None), _earliest <= bindparam("now"))
    .order_by(_earliest)
)
_before = outbox.alias("before")
_DUE = (
    select(outbox)
    .where(
        outbox.c.webhook_id == bindparam("this"),
        outbox.c.due_at <= bindparam("now"),
        or_(
            outbox.c.lane == "",
            ~select(literal_column("1"))
            .select_from(_before)
            .where(
                and_(
                    _before.c.webhook_id == outbox.c.webhook_id,
                    _before.c.lane == outbox.c.lane,
                    _before.c.id < outbox.c.id,
                )
            )
            .exists(),
        ),
    )
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("most"))
)
_OLDEST = (  # ids grow with time: no index is needed
    select(outbox.c.id, outbox.c.webhook_id, outbox.c.queued_at)
    .order_by(outbox.c.id)
    .limit(_DROPPED_AT_ONCE)
)
_GONE = delete(outbox).where(outbox.c.id == bindparam("this"))
_AGAIN = (
    update(outbox)
    .where(outbox.c.id == bindparam("this"))
    .values(due_at=bindparam("due"), attempts=bindparam("tries"))
)
_of_lane = and_(
    outbox.c.webhook_id == bindparam("hook"), outbox.c.lane == bindparam("its")
)
_LANE_LATER = (
    update(outbox)
    .where(_of_lane, outbox.c.due_at < bindparam("due"))
    .values(due_at=bindparam("due"))
)
_LANE_NOW = update(outbox).where(_of_lane).values(due_at=bindparam("due"))
_DROPPED = (
    update(webhook)
    .where(webhook.c.id == bindparam("this"))
    .values(dropped=webhook.c.dropped + bindparam("more"))
)
