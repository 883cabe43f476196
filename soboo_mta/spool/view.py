"""What waits, and why: reads for the CLI and console. Plain functions over a connection.

A row that makes no sense is shown as corrupt, never a crash: whoever looks needs the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import ORDERED, Reason
from soboo_mta.spool.content import readable_id
from soboo_mta.spool.lifecycle import SETTLED_STATES, WAITING_STATES, RecipientState
from soboo_mta.spool.moves.settle import NEVER
from soboo_mta.spool.operator.selection import UNSETTLED, Selection
from soboo_mta.store.schema import ACTIVE, WAITING, gate, message, recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One closed gate; `scope` "domain" or "tenant", or what an operator may hold."""

    scope: str
    subject: str
    reason: Reason
    explanation: str
    since: int  # unix ms


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """One recipient and why it waits or how it ended; a closed gate's words go first."""

    message_id: MessageId
    position: int
    tenant: TenantId
    author: str
    recipient: str
    state: RecipientState
    reason: Reason
    explanation: str  # the last reply, or the gate's explanation
    site: str  # that deferred it last
    due_at: int | None  # unix ms; None: waits for a release or a gate, or is settled
    attempts: int
    size: int
    accepted_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """One message's envelope with all its recipients by position."""

    message_id: MessageId
    tenant: TenantId
    domain_id: DomainId
    reverse_path: str
    author: str
    header_message_id: str
    client: str
    size: int
    accepted_at: int
    expires_at: int
    settled_at: int | None
    recipients: tuple[QueueEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSize:
    """Recipients in one state; `oldest` is the first message with one of them."""

    state: RecipientState
    recipients: int
    oldest: MessageId | None


def gates(connection: Connection) -> tuple[Gate, ...]:
    """Return the closed gates, the oldest first."""
    return tuple(
        Gate(
            scope=row.scope,
            subject=row.subject,
            reason=_reason(row.reason),
            explanation=row.explanation,
            since=row.since,
        )
        for row in connection.execute(select(gate).order_by(gate.c.since))
    )


def list_waiting(
    connection: Connection, wanted: Selection | None = None, *, limit: int = 100
) -> tuple[QueueEntry, ...]:
    """Return recipients that are not settled, the oldest message first."""
    terms = () if wanted is None else wanted.terms()
    query = _ENTRIES.where(UNSETTLED, *terms).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return _entries(connection, connection.execute(query.limit(limit)).all())


def queue_sizes(connection: Connection) -> tuple[QueueSize, ...]:
    """Return how much is not settled, a size for each state that is not."""
    found = {row.state: row for query in _SIZES for row in connection.execute(query)}
    return tuple(
        QueueSize(
            state=state,
            recipients=found[state].recipients if state in found else 0,
            oldest=MessageId(found[state].oldest) if state in found else None,
        )
        for state in (*sorted(WAITING_STATES), RecipientState.ACTIVE)
    )


def show(connection: Connection, message_id: MessageId) -> QueuedMessage | None:
    """Return one message with its recipients; None where the store has it not (any more)."""
    found = connection.execute(
        select(*_ENVELOPE).where(message.c.id == int(message_id))
    ).one_or_none()
    if found is None:
        return None
    return QueuedMessage(
        message_id=message_id,
        tenant=TenantId(found.tenant_id),
        domain_id=DomainId(found.domain_id),
        reverse_path=found.reverse_path,
        author=found.author,
        header_message_id=found.header_message_id,
        client=found.client,
        size=found.size,
        accepted_at=found.accepted_at,
        expires_at=found.expires_at,
        settled_at=found.settled_at,
        recipients=why(connection, message_id),
    )


def why(connection: Connection, message_id: MessageId) -> tuple[QueueEntry, ...]:
    """Return each recipient's state with its reason, by position.

    Also where the message's own row is missing, which the reason then says.
    """
    query = _ENTRIES.where(recipient.c.message_id == int(message_id))
    rows = connection.execute(query.order_by(recipient.c.position)).all()
    return _entries(connection, rows)


# ----


def _entries(
    connection: Connection, rows: Sequence[Row[Any]]
) -> tuple[QueueEntry, ...]:
    shut = sorted(gates(connection), key=_is_by_hand)  # whose words are the last
    closed = {(one.scope, one.subject): one for one in shut}
    # What a tenant is told goes on while its own mail waits for complaints.
    of_reports = {
        (one.scope, one.subject): one
        for one in shut
        if one.reason is not Reason.COMPLAINTS
    }
    return tuple(
        _entry(row, of_reports if row.domain_id < 0 else closed) for row in rows
    )


def _entry(row: Row[Any], closed: Mapping[tuple[str, str], Gate]) -> QueueEntry:
    state, fault = _state(row.state)
    shut = _gate_of(row, closed) if state in WAITING_STATES else None
    reason, explanation = _reason(row.reason), row.last_reply
    if shut is not None:  # it waits for that, whatever it waited for before
        state, reason, explanation = RecipientState.HELD, shut.reason, shut.explanation
    if fault:
        reason, explanation = Reason.CORRUPT, fault
    waits = shut is None and state not in SETTLED_STATES and row.due_at != NEVER
    return QueueEntry(
        message_id=readable_id(row.message_id),
        position=row.position,
        tenant=TenantId(row.tenant_id),
        author=row.author or "",
        recipient=row.address,
        state=state,
        reason=reason,
        explanation=explanation,
        site=row.site,
        due_at=row.due_at if waits and not fault else None,
        attempts=row.attempts,
        size=row.size or 0,
        accepted_at=row.accepted_at or readable_id(row.message_id).unix_ms,
        expires_at=row.expires_at or 0,
    )


def _gate_of(row: Row[Any], closed: Mapping[tuple[str, str], Gate]) -> Gate | None:
    """The gate a recipient waits behind, as far as its row tells; None: no closed one."""
    found = (closed[place] for place in _places(row) if place in closed)
    return max(found, key=_is_by_hand, default=None)


def _is_by_hand(one: Gate) -> bool:
    return one.reason in ORDERED


def _places(row: Row[Any]) -> Iterator[tuple[str, str]]:
    yield "tenant", row.tenant_id
    yield "domain", str(row.domain_id)
    yield "destination", row.domain
    for host in row.site.split("|"):
        yield "site", host
    if row.gate is not None:
        scope, _, subject = row.gate.partition(" ")
        yield scope, subject


def _state(text: str) -> tuple[RecipientState, str]:
    """The state, and what is wrong with it: it then is held, whatever it says."""
    try:
        return RecipientState(text), ""
    except ValueError:
        return RecipientState.HELD, f"its state {text!r} does not exist"


def _reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        return Reason.CORRUPT


# Each by its partial index: what is settled is not looked at.
_SIZES = [
    select(
        recipient.c.state,
        func.count().label("recipients"),
        func.min(recipient.c.message_id).label("oldest"),
    )
    .where(which)
    .group_by(recipient.c.state)
    for which in (WAITING, ACTIVE)
]
_ENVELOPE = [column for column in message.c if column.name != "content"]
_ENTRIES = select(
    recipient,
    message.c.author,
    message.c.size,
    message.c.accepted_at,
    message.c.expires_at,
).join(message, message.c.id == recipient.c.message_id, isouter=True)
