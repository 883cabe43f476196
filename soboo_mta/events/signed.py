"""What was signed with a key: messages by day and destination, from the attempts kept.

The plan beside each attempt names its keys. Attempts are kept for `[retention] keep`:
older ones are not counted. Reads all attempts of the time asked for, once.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
)

from soboo_mta.mail.ids import KeyId
from soboo_mta.mail.outcome import Reason
from soboo_mta.store.schema import attempt, plan, recipient

_DAY_MS = 24 * 3600 * 1000
_PLANS_A_QUERY = 500  # bound parameters are limited (SQLite: 32,766)
_UNANSWERED = (  # it may have come to the final dot
    Reason.CONNECTION.value,
    Reason.TIMEOUT.value,
    Reason.INTERRUPTED.value,
    Reason.PROTOCOL.value,
)
_OPEN = ("queued", "deferred", "held", "active")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCount:
    """Attempts of one day (UTC, as 2026-01-31) towards one destination, by outcome.

    `delivered` were taken by the next hop, which may have passed them on since;
    `unanswered` ended without an answer, so that some may have arrived; `refused` were
    answered with 4yz or 5yz: the signature went no further. `waiting` are those of
    these attempts whose recipient is still here; it is signed anew when it leaves.
    """

    day: str
    destination: str
    delivered: int
    unanswered: int
    refused: int
    waiting: int


def signed_with(
    connection: Connection, key_ids: Collection[KeyId], *, since: int
) -> tuple[SignedCount, ...]:
    """Return the counts of attempts signed with any of these keys from `since` on
    (unix ms), the latest day first, then by number delivered."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    plans = _plans_with(connection, key_ids)
    for start in range(0, len(plans), _PLANS_A_QUERY):
        some = plans[start : start + _PLANS_A_QUERY]
        for row in connection.execute(_counts(some, since)):
            counts = found[_date(row.day), row.domain or ""]
            counts[_column(row.outcome, row.reason)] += row.number
            counts[3] += row.waiting
    counted = [
        SignedCount(
            day=day,
            destination=destination,
            delivered=counts[0],
            unanswered=counts[1],
            refused=counts[2],
            waiting=counts[3],
        )
        for (day, destination), counts in found.items()
    ]
    counted.sort(key=lambda one: (-one.delivered, one.destination))
    return tuple(sorted(counted, key=lambda one: one.day, reverse=True))


def _plans_with(connection: Connection, key_ids: Collection[KeyId]) -> list[int]:
    # As identity.facts_json writes a plan: sorted, without blanks.
    named: list[ColumnElement[bool]] = [
        plan.c.detail.contains(f'"key":{key_id},"s":', autoescape=True)
        for key_id in key_ids
    ]
    return list(connection.scalars(select(plan.c.id).where(or_(*named))))


def _counts(
    plans: list[int], since: int
) -> Select[tuple[int, str | None, str, str, int, int]]:
    day_ms: ColumnElement[int] = literal_column(
        str(_DAY_MS)
    )  # PostgreSQL groups by no parameter
    day = (attempt.c.at - attempt.c.at % day_ms).label("day")
    is_open = case((recipient.c.state.in_(_OPEN), 1), else_=0)
    of_its_recipient = and_(
        recipient.c.message_id == attempt.c.message_id,
        recipient.c.position == attempt.c.position,
    )
    return (
        select(
            day,
            recipient.c.domain,
            attempt.c.outcome,
            attempt.c.reason,
            func.count().label("number"),
            func.sum(is_open).label("waiting"),
        )
        .join_from(attempt, recipient, of_its_recipient, isouter=True)
        .where(attempt.c.plan_id.in_(plans), attempt.c.at >= since)
        .group_by(day, recipient.c.domain, attempt.c.outcome, attempt.c.reason)
    )


def _column(outcome: str, reason: str) -> int:
    if outcome == "delivered":
        return 0
    return 1 if reason in _UNANSWERED else 2


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).date().isoformat()
