"""What the spool lets go: mail whose life ended behind a closed gate, old envelopes,
forgotten pieces; and what it sets aside.

Each call is one small transaction, so that no accepting commit waits long behind it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    insert,
    or_,
    select,
    text,
    update,
)

from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.content import Corrupt
from soboo_mta.spool.lifecycle import RecipientState, move
from soboo_mta.spool.moves.one import ROWS_AT_ONCE, THIS
from soboo_mta.spool.moves.settle import NEVER, settle_if_last
from soboo_mta.spool.moves.unread import note_gone
from soboo_mta.store.schema import (
    ACTIVE,
    WAITING,
    attempt,
    event,
    gate,
    message,
    piece,
    recipient,
    reroute,
)
from soboo_mta.store.unit import Statement

CORRUPT_EVENT = "message-corrupt"  # events.event.EventKind.MESSAGE_CORRUPT
_MESSAGES_AT_ONCE = 200
_PIECES_AT_ONCE = 4  # 1 MB
_EXPIRED_AT_ONCE = 200


def sweep_once(
    connection: Connection, *, settled_before: int, staged_before: int
) -> int:
    """Delete one transaction's worth of what is over; return the rows, 0 when done.

    Messages settled before `settled_before` with all that is known of them, events and
    reroutes of what was accepted as long ago, pieces of settled messages, pieces staged
    before `staged_before` that no message took (unix ms).
    """
    return (
        _sweep_pieces(connection, staged_before)
        or _sweep_messages(connection, settled_before)
        or _sweep_events(connection, settled_before)
        or _delete_by_id(
            connection,
            reroute,
            select(reroute.c.id).where(reroute.c.accepted_before < settled_before),
        )
    )


@dataclass(frozen=True, slots=True)
class Overdue:
    """One recipient whose lifetime ended behind a gate; `reason` and `why` are what
    closed that. `is_answered`: its message has a reverse-path, or is a report."""

    message_id: int
    position: int
    state: RecipientState
    reason: Reason
    why: str
    is_answered: bool


def overdue(connection: Connection, now: int) -> tuple[Overdue, ...]:
    """Return recipients that wait behind a closed gate and whose lifetime is over at
    `now` (unix ms), at most one transaction's worth.

    What has no gate is tried once more and expires then; what somebody holds by hand
    waits for that hand.
    """
    found = {
        (row.message_id, row.position): Overdue(
            row.message_id,
            row.position,
            RecipientState(row.state),
            Reason(row.reason),
            row.explanation,
            bool(row.reverse_path) or row.domain_id < 0,
        )
        for row in connection.execute(_OVERDUE, {"now": now})
    }
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Expiry:
    """Recipients of one message that end together, and the report that says so."""

    late: Sequence[Overdue]
    report: Sequence[Statement] = ()

    @property
    def octets(self) -> int:
        """Of content in the report."""
        return sum(
            len(value)
            for statement in self.report
            for row in statement.rows
            for value in row.values()
            if isinstance(value, bytes)
        )


def expire(connection: Connection, expiries: Iterable[Expiry], now: int) -> int:
    """End those that still wait, each with its attempt row; return how many.

    A message that is to be reported ends as it is reported or, where one of its
    recipients was claimed meanwhile, not now.
    """
    ended = 0
    for expiry in expiries:
        if expiry.report and not _all_wait(connection, expiry.late):
            continue
        for one in expiry.late:
            ended += _expire(connection, one, now)
        for statement in expiry.report:
            rows = [dict(row) for row in statement.rows]
            connection.execute(statement.clause, rows)
    return ended


def _all_wait(connection: Connection, late: Sequence[Overdue]) -> bool:
    waiting = set(connection.scalars(_STILL_WAITING, {"this": late[0].message_id}))
    return all(one.position in waiting for one in late)


def _expire(connection: Connection, one: Overdue, now: int) -> int:
    this = {"this": one.message_id, "at": one.position}
    state = move(one.state, RecipientState.EXPIRED).value
    values = {**this, "state": state, "why": one.why}
    if not connection.execute(_EXPIRE, values).rowcount:
        return 0
    row = {"message_id": one.message_id, "position": one.position}
    connection.execute(_EXPIRED, {**row, "at": now, "reply": one.why})
    settle_if_last(connection, one.message_id, now)
    return 1


def set_aside(corrupt: Corrupt, *, holder: tuple[int, int], at: int) -> list[Statement]:
    """Return the unit that holds the claimed rows of a message that cannot be read."""
    number, epoch = holder
    held = {
        "this": int(corrupt.message_id),
        "number": number,
        "under": epoch,
        "state": move(RecipientState.ACTIVE, RecipientState.HELD).value,
        "reason": Reason.CORRUPT.value,
        "due_at": NEVER,
        "last_reply": corrupt.cause,
    }
    told = corrupt_event(corrupt, at)
    return [Statement(_SET_ASIDE, (held,)), Statement(_TELL, (told,))]


def corrupt_event(corrupt: Corrupt, at: int) -> dict[str, object]:
    """Return the event row that tells of a message that cannot be read."""
    return {
        "at": at,
        "kind": CORRUPT_EVENT,
        "tenant_id": None,
        "domain": None,
        "message_id": int(corrupt.message_id),
        "actor": "spool",
        "detail": json.dumps({"cause": corrupt.cause}),
    }


def _sweep_pieces(connection: Connection, staged_before: int) -> int:
    rows = connection.execute(_LOST_PIECES, {"before": staged_before}).all()
    for row in rows:
        connection.execute(_DROP_PIECE, {"this": row.message_id, "at": row.number})
    return len(rows)


def _sweep_messages(connection: Connection, before: int) -> int:
    ids: list[int] = []
    recipients = 0
    for row in connection.execute(_OLD_MESSAGES, {"before": before}):
        recipients += row.recipients
        if ids and recipients > ROWS_AT_ONCE:
            break
        ids.append(row.id)
    if not ids:
        return 0
    for table in (attempt, event):  # a recipient may have many attempts: in pieces too
        of_these = select(table.c.id).where(table.c.message_id.in_(ids))
        gone = _delete_by_id(connection, table, of_these.limit(ROWS_AT_ONCE))
        if gone:
            return gone
    connection.execute(delete(recipient).where(recipient.c.message_id.in_(ids)))
    return connection.execute(delete(message).where(message.c.id.in_(ids))).rowcount


def _sweep_events(connection: Connection, before: int) -> int:
    old = select(event.c.id).where(event.c.at < before, event.c.message_id.is_(None))
    return _delete_by_id(connection, event, old.limit(ROWS_AT_ONCE))


def _delete_by_id(connection: Connection, table: Table, query: Select[int]) -> int:
    ids = connection.scalars(query).all()
    if not ids:
        return 0
    gone = connection.execute(delete(table).where(table.c.id.in_(ids))).rowcount
    note_gone(connection, table, ids)
    return gone


_OVERDUE = (
    select(
        recipient.c.message_id,
        recipient.c.position,
        recipient.c.state,
        gate.c.reason,
        gate.c.explanation,
        message.c.reverse_path,
        message.c.domain_id,
    )
    .join(message, message.c.id == recipient.c.message_id)
    .join(
        gate,
        or_(
            and_(
                gate.c.scope == "domain",
                gate.c.subject == cast(recipient.c.domain_id, Text),
            ),
            and_(
                gate.c.scope == "tenant",
                gate.c.subject == recipient.c.tenant_id,
                # complaints hold no reports to the tenant
                or_(
                    gate.c.reason != Reason.COMPLAINTS.value, recipient.c.domain_id > 0
                ),
            ),
        ),
    )
    .where(
        gate.c.reason != Reason.OPERATOR_HOLD.value,
        WAITING,
        recipient.c.due_at < NEVER,
        message.c.expires_at <= bindparam("now"),
    )
    .limit(_EXPIRED_AT_ONCE)
)
_STILL_WAITING = (
    select(recipient.c.position)
    .where(recipient.c.message_id == bindparam("this"), WAITING)
    .with_for_update()
)
_EXPIRE = (
    update(recipient)
    .where(THIS, WAITING)
    .values(
        state=bindparam("state"),
        reason=Reason.LIFETIME.value,
        last_reply=bindparam("why"),
    )
)
_EXPIRED = insert(attempt).values(
    outcome="expired",  # events.attempt.outcome_word
    reason=Reason.LIFETIME.value,
    host="",
    source="",
    tls="",
    duration_ms=0,
)
_OLD_MESSAGES = (
    select(message.c.id, message.c.recipients)
    .where(message.c.settled_at < bindparam("before"))
    .order_by(message.c.settled_at)
    .limit(_MESSAGES_AT_ONCE)
)
_LOST_PIECES = (
    select(piece.c.message_id, piece.c.number)
    .join(message, message.c.id == piece.c.message_id, isouter=True)
    .where(
        or_(
            and_(message.c.id.is_(None), piece.c.staged_at < bindparam("before")),
            message.c.settled_at.is_not(None),
        )
    )
    .limit(_PIECES_AT_ONCE)
)
_DROP_PIECE = delete(piece).where(
    piece.c.message_id == bindparam("this"), piece.c.number == bindparam("at")
)
_SET_ASIDE = (
    update(recipient)
    .where(
        recipient.c.message_id == bindparam("this"),
        ACTIVE,
        recipient.c.worker == bindparam("number"),
        recipient.c.epoch == bindparam("under"),
    )
    .values(
        state=bindparam("state"),
        reason=bindparam("reason"),
        due_at=bindparam("due_at"),
        last_reply=bindparam("last_reply"),
        worker=text("NULL"),
        epoch=text("NULL"),
    )
)
_TELL = insert(event)
