"""An operator's moves on the queue: hold, release, retry, cancel, in small transactions.

Each call moves one piece and says of which messages; callers repeat until a piece moves
nothing, so that no accepting commit waits long behind a million rows. What is being tried
is left alone: it goes on to its outcome.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import ORDERED, Reason
from soboo_mta.spool.lifecycle import WAITING_STATES, RecipientState, move
from soboo_mta.spool.moves.one import BEGINNING, MAKE_DUE, THIS, Place
from soboo_mta.spool.moves.settle import NEVER, settle_if_last
from soboo_mta.spool.operator.orders import HoldScope, StandingHold
from soboo_mta.spool.operator.selection import UNSETTLED, Selection
from soboo_mta.store.schema import WAITING, gate, recipient

PIECE = 300
"""Recipients moved in one transaction: with an event for each message and what settles,
under the 1,000 rows of a write transaction."""

Moved = Counter[MessageId]
"""How many recipients moved, by message."""


def hold(
    connection: Connection, wanted: Selection, explanation: str, limit: int = PIECE
) -> Moved:
    """Hold recipients that are due or deferred until they are released."""
    values = {
        "due_at": NEVER,
        "reason": Reason.OPERATOR_HOLD.value,
        "last_reply": explanation,
    }
    old = (RecipientState.QUEUED, RecipientState.DEFERRED)
    return _move(
        connection, wanted.terms(), old, RecipientState.HELD, values, limit=limit
    )


def release(
    connection: Connection, wanted: Selection, now: int, limit: int = PIECE
) -> Moved:
    """Make due what was held by hand or set aside, unless a closed gate holds it."""
    by_hand = (*wanted.terms(), recipient.c.due_at == NEVER, ~_BEHIND_A_GATE)
    return _released(connection, by_hand, now, limit)


def release_behind(
    connection: Connection, scope: HoldScope, subject: str, now: int
) -> Moved:
    """Make due what waited behind a gate of the operator that is open now."""
    behind = recipient.c.gate == gate_name(scope, subject)
    return _released(connection, (behind, ~_BEHIND_A_GATE), now, PIECE)


def release_stray(connection: Connection, now: int) -> Moved:
    """Make due what waits behind gates that are gone: a release was broken off, or a worker
    that did not know of it yet held more."""
    stray = (recipient.c.gate.is_not(None), ~_BEHIND_A_GATE)
    return _released(connection, stray, now, PIECE)


def retry(
    connection: Connection,
    wanted: Selection,
    now: int,
    *,
    after: Place = BEGINNING,
    limit: int = PIECE,
) -> tuple[Moved, Place]:
    """Make deferred recipients due now; they keep their reason and their attempts. What
    waits for its turn waits on, but where its message is named.

    Returns the place to go on `after` besides: what was tried in the meantime, and
    deferred again, is not made due twice.
    """
    key = tuple_(recipient.c.message_id, recipient.c.position)
    terms = [*wanted.terms(), recipient.c.due_at > now, key > after]
    if wanted.message_id is None:
        terms.append(recipient.c.reason != Reason.SLOWED.value)
    query = _chosen(
        terms,
        (RecipientState.QUEUED, RecipientState.DEFERRED),
        limit,
    )
    rows = connection.execute(query.order_by(*_KEY)).all()
    if not rows:
        return Moved(), after
    due = [{"this": row.message_id, "at": row.position, "now": now} for row in rows]
    connection.execute(MAKE_DUE, due)
    moved = Moved(MessageId(row.message_id) for row in rows)
    return moved, (rows[-1].message_id, rows[-1].position)


def cancel(
    connection: Connection, wanted: Selection, now: int, limit: int = PIECE
) -> Moved:
    """Take waiting recipients back for good."""
    moved = _move(
        connection,
        wanted.terms(),
        WAITING_STATES,
        RecipientState.CANCELLED,
        {"due_at": now},
        limit=limit,
    )
    for message_id in moved:
        settle_if_last(connection, int(message_id), now)
    return moved


# ---- gates


def gate_name(scope: str, subject: str) -> str:
    """Return how a recipient's row names the gate it waits behind."""
    return f"{scope} {subject}"


def close_gate(connection: Connection, hold: StandingHold) -> bool:
    """Close a gate by an order; False where it was closed by the same kind already."""
    row = {
        "scope": hold.scope.value,
        "subject": hold.subject,
        "reason": hold.reason.value,
        "explanation": hold.explanation,
        "since": hold.since,
    }
    this = {"of": hold.scope.value, "on": hold.subject, "why": hold.reason.value}
    if connection.execute(_FIND, this).first() is not None:
        return False
    connection.execute(_CLOSE, row)
    return True


def open_gate(
    connection: Connection,
    scope: HoldScope,
    subject: str,
    *,
    reason: Reason = Reason.OPERATOR_HOLD,
) -> bool:
    """Open a gate that was closed by an order; False where there is none of the reason.

    What had come to it then waits for `release_behind`.
    """
    this = {"of": scope.value, "on": subject, "why": reason.value}
    return connection.execute(_OPEN, this).rowcount == 1


# ---- why nothing moved


def states(connection: Connection, wanted: Selection) -> dict[str, int]:
    """Return how many recipients of a selection are in which state; of more than one
    message those that are not settled, which are few beside all that are kept."""
    terms = wanted.terms()
    if wanted.message_id is None:
        terms.append(UNSETTLED)
    query = select(recipient.c.state, func.count()).where(*terms)
    rows = connection.execute(query.group_by(recipient.c.state))
    return {str(state): int(count) for state, count in rows}


# ----


def _released(
    connection: Connection,
    terms: Iterable[ColumnElement[bool]],
    now: int,
    limit: int,
) -> Moved:
    values = {"due_at": now, "reason": Reason.ACCEPTED.value, "last_reply": ""}
    return _move(
        connection,
        terms,
        (RecipientState.HELD,),
        RecipientState.QUEUED,
        values,
        limit=limit,
    )


def _move(
    connection: Connection,
    terms: Iterable[ColumnElement[bool]],
    old: Iterable[RecipientState],
    new: RecipientState,
    values: Mapping[str, object],
    *,
    limit: int,
) -> Moved:
    rows = connection.execute(_chosen(terms, old, limit)).all()
    if rows:
        statement = update(recipient).where(THIS, WAITING)
        connection.execute(
            statement.values(state=new.value, gate=None, **values),
            [{"this": row.message_id, "at": row.position} for row in rows],
        )
    for row in rows:
        move(RecipientState(row.state), new)
    return Moved(MessageId(row.message_id) for row in rows)


def _chosen(
    terms: Iterable[ColumnElement[bool]], old: Iterable[RecipientState], limit: int
) -> Select[tuple[int, int, str]]:
    """One piece of a selection, locked: a claim under way elsewhere is left alone."""
    return (
        select(recipient.c.message_id, recipient.c.position, recipient.c.state)
        .where(WAITING, recipient.c.state.in_([state.value for state in old]), *terms)
        .limit(limit)
        .with_for_update(of=recipient, skip_locked=True)
    )


_KEY = (recipient.c.message_id, recipient.c.position)
_BEHIND_A_GATE = (
    select(gate.c.scope)
    .where(
        gate.c.reason.in_([reason.value for reason in ORDERED]),
        gate.c.scope + " " + gate.c.subject == recipient.c.gate,
    )
    .correlate(recipient)
    .exists()
)
_CLOSE = insert_or(gate).on_conflict_do_nothing(
    index_elements=["scope", "subject", "reason"]
)
_THIS_GATE = and_(
    gate.c.scope == bindparam("of"),
    gate.c.subject == bindparam("on"),
    gate.c.reason == bindparam("why"),
)
_FIND = select(gate.c.since).where(_THIS_GATE)
_OPEN = delete(gate).where(_THIS_GATE)
