"""Everything known about one message, in order of time: for the CLI and console."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from soboo_mta.formats.classes.attempts import class_of
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.mail.outcome import Reason
from soboo_mta.store.schema import attempt, event, message, plan, recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedAttempt:
    """One attempt on one recipient; `plan` is the decoded plan it left under."""

    at: int  # unix ms
    position: int
    recipient: str
    outcome: str
    reason: str
    reply: str
    bounce_class: BounceClass | None  # None: nobody refused
    host: str
    source: str
    tls: str
    duration_ms: int
    plan: Any  # JSON
    dialogue: str  # a line each, "" where it was not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEvent:
    """One event about the message."""

    at: int  # unix ms
    kind: str
    actor: str
    detail: Any  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One message from acceptance to its last word."""

    message_id: MessageId
    tenant: TenantId
    author: str
    reverse_path: str
    header_message_id: str
    client: str
    size: int
    accepted_at: int
    settled_at: int | None
    recipients: tuple[tuple[str, str], ...]  # (address, state) by position
    attempts: tuple[TracedAttempt, ...]
    events: tuple[TracedEvent, ...]


def trace(
    connection: Connection, message_id: MessageId, rules: RuleSet
) -> Trace | None:
    """Return what the store knows of a message; None where that is nothing. `rules` say
    why attempts failed: as they are now, not as they were then."""
    this = {"this": int(message_id)}
    row = connection.execute(_MESSAGE, this).one_or_none()
    if row is None:
        return None
    recipients = connection.execute(_RECIPIENTS, this).all()
    return Trace(
        message_id=message_id,
        tenant=TenantId(row.tenant_id),
        author=row.author,
        reverse_path=row.reverse_path,
        header_message_id=row.header_message_id,
        client=row.client,
        size=row.size,
        accepted_at=row.accepted_at,
        settled_at=row.settled_at,
        recipients=tuple((found.address, found.state) for found in recipients),
        attempts=_attempts(connection, this, rules),
        events=_events(connection, this),
    )


def last_hosts(connection: Connection, message_id: MessageId) -> dict[int, str]:
    """Return the host of each recipient's last attempt that came to one, by position."""
    rows = connection.execute(_HOSTS, {"this": int(message_id)})
    return {row.position: row.host for row in rows}


def _attempts(
    connection: Connection, this: dict[str, int], rules: RuleSet
) -> tuple[TracedAttempt, ...]:
    return tuple(
        TracedAttempt(
            at=row.at,
            position=row.position,
            recipient=row.address or "",
            outcome=row.outcome,
            reason=row.reason,
            reply=row.reply,
            bounce_class=_class_of(row, rules),
            host=row.host,
            source=row.source,
            tls=row.tls,
            duration_ms=row.duration_ms,
            plan=None if row.plan is None else json.loads(row.plan),
            dialogue=row.dialogue or "",
        )
        for row in connection.execute(_ATTEMPTS, this)
    )


def _class_of(row: Row[Any], rules: RuleSet) -> BounceClass | None:
    if row.outcome in _TAKEN_OR_HELD or row.reason not in _REASONS:
        return None
    return class_of(rules, Reason(row.reason), row.reply, row.host)


def _events(connection: Connection, this: dict[str, int]) -> tuple[TracedEvent, ...]:
    return tuple(
        TracedEvent(
            at=row.at, kind=row.kind, actor=row.actor, detail=json.loads(row.detail)
        )
        for row in connection.execute(_EVENTS, this)
    )


_TAKEN_OR_HELD = ("delivered", "held")  # events.attempt.outcome_word
_REASONS = frozenset(Reason)
_MESSAGE = select(*(column for column in message.c if column.name != "content")).where(
    message.c.id == bindparam("this")
)
_RECIPIENTS = (
    select(recipient.c.address, recipient.c.state)
    .where(recipient.c.message_id == bindparam("this"))
    .order_by(recipient.c.position)
)
_ATTEMPTS = (
    select(attempt, recipient.c.address, plan.c.detail.label("plan"))
    .join(
        recipient,
        (recipient.c.message_id == attempt.c.message_id)
        & (recipient.c.position == attempt.c.position),
        isouter=True,
    )
    .join(plan, plan.c.id == attempt.c.plan_id, isouter=True)
    .where(attempt.c.message_id == bindparam("this"))
    .order_by(attempt.c.at, attempt.c.id)
)
_HOSTS = (
    select(attempt.c.position, attempt.c.host)
    .where(attempt.c.message_id == bindparam("this"), attempt.c.host != "")
    .order_by(attempt.c.at, attempt.c.id)
)
_EVENTS = (
    select(event)
    .where(event.c.message_id == bindparam("this"))
    .order_by(event.c.at, event.c.id)
)
