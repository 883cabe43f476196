"""What reports show is told once: as an event for each tenant whose domain it is about.

Functions over one connection; the caller owns the transaction.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.schema import dmarc_told, event
from soboo_mta.store.unit import perform

ACTOR: Final = "dmarc-reports"
ALWAYS: Final = 0
"""The day of what is told once for all."""
_FORGOTTEN_AT_ONCE: Final = 500
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something to tell of a domain, once for its kind, `subject` and `day` (a unix day).
    `detail` as in `events.event.recorded`."""

    kind: EventKind
    domain: DnsName
    subject: str
    day: int
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAlarm:
    """What was told of a domain; `at` is unix ms."""

    at: int
    kind: EventKind
    detail: Mapping[str, object]


def tell(
    connection: Connection, alarm: Alarm, tenants: Iterable[TenantId], *, now: int
) -> bool:
    """Record the event for each tenant; False, and nothing recorded, where it was told
    before. `now` is unix ms."""
    row = {
        "kind": alarm.kind.value,
        "domain": alarm.domain,
        "subject": alarm.subject,
        "day": alarm.day,
        "at": now,
    }
    if connection.execute(_TELL, row).first() is None:
        return False
    for tenant in tenants:
        told = recorded(
            alarm.kind,
            at=now,
            actor=ACTOR,
            tenant=tenant,
            domain=alarm.domain,
            detail=alarm.detail,
        )
        perform(connection, told)
    return True


def alarms_on(
    connection: Connection, domain: DnsName, since: int
) -> tuple[PastAlarm, ...]:
    """Return what was told of a domain since then (unix ms), the newest first, once each
    however many tenants heard of it; 100 at most."""
    rows = connection.execute(_TOLD, {"domain": domain, "since": since}).all()
    return tuple(
        PastAlarm(at=row.at, kind=EventKind(row.kind), detail=json.loads(row.detail))
        for row in rows
    )


def forget_told(connection: Connection, *, before: int) -> int:
    """Delete one transaction's worth of notes of what was told before `before` (unix ms),
    but for what is told once for all; return the rows, 0 when done."""
    return connection.execute(_FORGET, {"before": before}).rowcount


_TELL = insert_or(dmarc_told).on_conflict_do_nothing().returning(dmarc_told.c.day)
_KINDS: Final = (
    EventKind.DMARC_FAILED,
    EventKind.REPLAY_SUSPECTED,
    EventKind.DMARC_POLICY_CAN_BE_RAISED,
)
_TOLD = (
    select(event.c.at, event.c.kind, event.c.detail)
    .where(
        event.c.domain == bindparam("domain"),
        event.c.at >= bindparam("since"),
        event.c.kind.in_([kind.value for kind in _KINDS]),
    )
    .distinct()
    .order_by(event.c.at.desc())
    .limit(_SHOWN)
)
_note = (
    dmarc_told.c.kind,
    dmarc_told.c.domain,
    dmarc_told.c.subject,
    dmarc_told.c.day,
)
_FORGET = delete(dmarc_told).where(
    tuple_(*_note).in_(
        select(*_note)
        .where(dmarc_told.c.at < bindparam("before"), dmarc_told.c.day != ALWAYS)
        .limit(_FORGOTTEN_AT_ONCE)
    )
)
