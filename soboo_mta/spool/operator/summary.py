"""The queue in one screen: how much waits where, since when, and what the peers say."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    func,
    literal_column,
    select,
)

from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.operator.selection import UNSETTLED, Selection
from soboo_mta.store.schema import recipient


class GroupBy(StrEnum):
    """What the lines of a summary stand for."""

    SITE = "site"
    DESTINATION = "destination"
    TENANT = "tenant"
    REASON = "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Recipients that are not settled and have `key` in common."""

    key: str
    active: int  # being tried now
    queued: int
    deferred: int
    held: int
    oldest: int  # acceptance of the oldest message, unix ms
    last_reply: str  # to the one of them that comes due last

    @property
    def waiting(self) -> int:
        return self.queued + self.deferred + self.held


def summary(
    connection: Connection, by: GroupBy, wanted: Selection, *, limit: int
) -> tuple[Group, ...]:
    """Return the largest groups of what is not settled, the largest first."""
    key = _KEYS[by]
    rows = connection.execute(
        select(key.label("key"), *_COUNTS)
        .where(UNSETTLED, *wanted.terms())
        .group_by(key)
        .order_by(func.count().desc(), key)
        .limit(limit)
    ).all()
    return tuple(_group(connection, row, key, wanted) for row in rows)


def _group(
    connection: Connection, row: Row[Any], key: ColumnElement[str], wanted: Selection
) -> Group:
    reply = connection.scalar(
        select(recipient.c.last_reply)
        .where(UNSETTLED, *wanted.terms(), key == row.key, recipient.c.last_reply != "")
        .order_by(recipient.c.due_at.desc())
        .limit(1)
    )
    return Group(
        key=row.key,
        active=row.active,
        queued=row.queued,
        deferred=row.deferred,
        held=row.held,
        oldest=MessageId(row.oldest).unix_ms,
        last_reply=reply or "",
    )


def _count(state: str) -> ColumnElement[int]:
    return func.sum(case((recipient.c.state == state, 1), else_=0)).label(state)


_COUNTS = (
    *map(_count, ("active", "queued", "deferred", "held")),
    func.min(recipient.c.message_id).label("oldest"),
)
_KEYS: dict[GroupBy, ColumnElement[str]] = {
    # what no site has deferred yet stands under its domain
    GroupBy.SITE: case(
        (recipient.c.site == literal_column("''"), recipient.c.domain),
        else_=recipient.c.site,
    ),
    GroupBy.DESTINATION: recipient.c.domain,
    GroupBy.TENANT: recipient.c.tenant_id,
    GroupBy.REASON: recipient.c.reason,
}
