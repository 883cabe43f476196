"""What waits, and why: reads for the CLI and console; and what an operator may do to it.

Plain functions over a connection: `writer.read` or `read_now` for the reads, `transact` or
`write_now` for the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    case,
    cast,
    func,
    select,
    update,
)

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.lifecycle import (
    SETTLED_STATES,
    WAITING_STATES,
    RecipientState,
    move,
)
from soboo_mta.spool.moves.settle import NEVER, settle_if_last
from soboo_mta.store.schema import ACTIVE, WAITING, gate, message, recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One closed gate; `scope` "domain" or "tenant"."""

    scope: str
    subject: str
    reason: Reason
    explanation: str
    since: int  # unix ms


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFilter:
    """Which recipients to list; None: any."""

    tenant: TenantId | None = None
    domain_id: DomainId | None = None
    destination: str | None = None  # the recipient's domain
    state: RecipientState | None = None
    limit: int = 100


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
            reason=Reason(row.reason),
            explanation=row.explanation,
            since=row.since,
        )
        for row in connection.execute(select(gate).order_by(gate.c.since))
    )


def list_waiting(
    connection: Connection, wanted: QueueFilter | None = None
) -> tuple[QueueEntry, ...]:
    """Return recipients that are not settled, the oldest message first."""
    wanted = wanted or QueueFilter()
    terms: list[ColumnElement[bool]] = [
        recipient.c.state.in_([*map(str, WAITING_STATES), "active"])
    ]
    if wanted.tenant is not None:
        terms.append(recipient.c.tenant_id == str(wanted.tenant))
    if wanted.domain_id is not None:
        terms.append(recipient.c.domain_id == wanted.domain_id)
    if wanted.destination is not None:
        terms.append(recipient.c.domain == wanted.destination)
    if wanted.state is not None:
        terms.append(recipient.c.state == str(wanted.state))
    query = _ENTRIES.where(*terms).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return tuple(_entry(row) for row in connection.execute(query.limit(wanted.limit)))


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
    """Return each recipient's state with its reason, by position."""
    query = _ENTRIES.where(recipient.c.message_id == int(message_id))
    rows = connection.execute(query.order_by(recipient.c.position))
    return tuple(_entry(row) for row in rows)


def release(connection: Connection, message_id: MessageId, now: int) -> int:
    """Make a message's held and deferred recipients due now; return how many."""
    return _move(
        connection,
        message_id,
        (RecipientState.HELD, RecipientState.DEFERRED),
        RecipientState.QUEUED,
        {"due_at": now, "reason": Reason.ACCEPTED.value},
    )


def hold(connection: Connection, message_id: MessageId, explanation: str) -> int:
    """Hold a message's waiting recipients until released; return how many."""
    return _move(
        connection,
        message_id,
        (RecipientState.QUEUED, RecipientState.DEFERRED),
        RecipientState.HELD,
        {
            "due_at": NEVER,
            "reason": Reason.OPERATOR_HOLD.value,
            "last_reply": explanation,
        },
    )


def cancel(connection: Connection, message_id: MessageId, now: int) -> int:
    """Take back a message's waiting recipients; those being tried go on. How many?"""
    gone = _move(
        connection,
        message_id,
        WAITING_STATES,
        RecipientState.CANCELLED,
        {"due_at": now},
    )
    if gone:
        settle_if_last(connection, int(message_id), now)
    return gone


def _move(
    connection: Connection,
    message_id: MessageId,
    old: Iterable[RecipientState],
    new: RecipientState,
    values: dict[str, object],
) -> int:
    states = [state.value for state in old if move(state, new)]
    return connection.execute(
        update(recipient)
        .where(recipient.c.message_id == int(message_id), recipient.c.state.in_(states))
        .values(state=new.value, **values)
    ).rowcount


def _entry(row: Row[Any]) -> QueueEntry:
    gated = row.gate_reason is not None and row.state in WAITING_STATES
    settled = row.state in SETTLED_STATES
    return QueueEntry(
        message_id=MessageId(row.message_id),
        position=row.position,
        tenant=TenantId(row.tenant_id),
        author=row.author,
        recipient=row.address,
        state=RecipientState(row.state),
        reason=Reason(row.gate_reason if gated else row.reason),
        explanation=row.gate_explanation if gated else row.last_reply,
        due_at=None if gated or settled or row.due_at == NEVER else row.due_at,
        attempts=row.attempts,
        size=row.size,
        accepted_at=row.accepted_at,
        expires_at=row.expires_at,
    )


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
_domain_gate = gate.alias("domain_gate")
_tenant_gate = gate.alias("tenant_gate")
_ENTRIES = (
    select(
        recipient,
        message.c.author,
        message.c.size,
        message.c.accepted_at,
        message.c.expires_at,
        case(
            (_tenant_gate.c.reason.is_not(None), _tenant_gate.c.reason),
            else_=_domain_gate.c.reason,
        ).label("gate_reason"),
        case(
            (_tenant_gate.c.reason.is_not(None), _tenant_gate.c.explanation),
            else_=_domain_gate.c.explanation,
        ).label("gate_explanation"),
    )
    .join(message, message.c.id == recipient.c.message_id)
    .join(
        _domain_gate,
        and_(
            _domain_gate.c.scope == "domain",
            _domain_gate.c.subject == cast(recipient.c.domain_id, Text),
        ),
        isouter=True,
    )
    .join(
        _tenant_gate,
        and_(
            _tenant_gate.c.scope == "tenant",
            _tenant_gate.c.subject == recipient.c.tenant_id,
        ),
        isouter=True,
    )
)
