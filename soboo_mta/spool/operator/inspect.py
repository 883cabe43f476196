"""Looks for rows that no claim would meet or read back: what `store check` says, and what
a start sets aside. A row that makes no sense is a value, `Corrupt`, never a crash.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.content import Corrupt, load, readable_id
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.settle import NEVER
from soboo_mta.spool.moves.sweep import corrupt_event
from soboo_mta.spool.operator.selection import UNSETTLED
from soboo_mta.store.schema import event, message, piece, recipient

_AT_ONCE = 300  # rows set aside in one transaction, with an event each
_READ_AT_ONCE = 50  # messages whose content is read together
_STATES = tuple(map(str, RecipientState))


def findings(connection: Connection, *, content: bool) -> Iterator[Corrupt]:
    """Return what is wrong with messages that are not settled; with `content` each is
    read back whole."""
    for row in connection.execute(_strays(connection)):
        yield Corrupt(readable_id(row.message_id), _cause(row))
    for query, cause in _LOOKS:
        for found in connection.scalars(query):
            yield Corrupt(readable_id(found), cause)
    if content:
        yield from _unreadable(connection)


def set_aside_strays(connection: Connection, now: int) -> list[Corrupt]:
    """Hold one piece of the rows that nothing would ever claim; return them."""
    found = []
    for row in connection.execute(_strays(connection).limit(_AT_ONCE)).all():
        corrupt = Corrupt(readable_id(row.message_id), _cause(row))
        connection.execute(
            update(recipient)
            .where(
                recipient.c.message_id == row.message_id,
                recipient.c.position == row.position,
            )
            .values(
                state=RecipientState.HELD.value,
                reason=Reason.CORRUPT.value,
                due_at=NEVER,
                last_reply=corrupt.cause,
                worker=None,
                epoch=None,
            )
        )
        connection.execute(insert(event).values(**corrupt_event(corrupt, now)))
        found.append(corrupt)
    return found


def strays_exist(connection: Connection) -> bool:
    """Whether `set_aside_strays` has anything to do: it would hold the writers' lock while
    it looks."""
    return connection.execute(_strays(connection).limit(1)).first() is not None


def _strays(connection: Connection) -> "Select[tuple[int, int, str, int]]":
    terms: list[ColumnElement[bool]] = [
        recipient.c.state.not_in(_STATES),
        and_(UNSETTLED, or_(recipient.c.due_at > NEVER, recipient.c.due_at < 0)),
    ]
    if connection.dialect.name == "sqlite":  # which takes a text where a number belongs
        for column in (recipient.c.message_id, recipient.c.position):
            terms.append(func.typeof(column) != "integer")
    return select(
        recipient.c.message_id,
        recipient.c.position,
        recipient.c.state,
        recipient.c.due_at,
    ).where(or_(*terms), recipient.c.reason != Reason.CORRUPT.value)


# A row's values may be of any type here, whatever the schema says: Any.
def _cause(row: Any) -> str:
    message_id, position, state, due_at = tuple(row)
    if not isinstance(message_id, int) or not isinstance(position, int):
        return f"its id {message_id!r} or position {position!r} is no number"
    if state not in _STATES:
        return f"its state {state!r} does not exist"
    return f"its time {due_at!r} is none"


def _unreadable(connection: Connection) -> Iterator[Corrupt]:
    last = -1
    while True:
        query = (
            select(message.c.id)
            .where(message.c.settled_at.is_(None), message.c.id > last)
            .order_by(message.c.id)
            .limit(_READ_AT_ONCE)
        )
        ids = list(connection.scalars(query))
        if not ids:
            return
        last = ids[-1]
        for one in load(connection, ids).values():
            if isinstance(one, Corrupt):
                yield one


_of_message = recipient.c.message_id == message.c.id
_pieces = (
    select(func.count()).where(piece.c.message_id == message.c.id).scalar_subquery()
)
_rows = select(func.count()).where(_of_message).scalar_subquery()
_is_waiting = message.c.settled_at.is_(None)
_LOOKS: tuple[tuple[Select[tuple[int]], str], ...] = (
    (
        select(recipient.c.message_id)
        .join(message, _of_message, isouter=True)
        .where(UNSETTLED, message.c.id.is_(None))
        .distinct(),
        "its message row is missing",
    ),
    (
        select(message.c.id).where(_is_waiting, message.c.recipients != _rows),
        "its recipient rows are incomplete",
    ),
    (
        select(message.c.id).where(
            _is_waiting,
            or_(
                and_(
                    message.c.pieces == 0,
                    func.coalesce(func.length(message.c.content), -1) != message.c.size,
                ),
                and_(message.c.pieces > 0, message.c.pieces != _pieces),
            ),
        ),
        "its content is missing or cut",
    ),
)
