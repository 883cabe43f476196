"""What waits by a wall clock that was set back since: found, and made due. Functions of a
transaction."""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, exists, or_, select, tuple_, update

from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.moves.one import MAKE_DUE_AGAIN, ROWS_AT_ONCE, THIS, Place
from soboo_mta.spool.moves.settle import NEVER
from soboo_mta.store.schema import WAITING, attempt, message, recipient


def put_off(connection: Connection, latest: int) -> list[tuple[int, int]]:
    """Return recipients (message, position) that wait for a time after `latest`, one
    transaction's worth. What its sender has scheduled, somebody holds, or waits for its turn
    is not of them: a line may be long."""
    rows = connection.execute(_PUT_OFF, {"latest": latest})
    return [(row.message_id, row.position) for row in rows]


def written_ahead(connection: Connection, now: int) -> list[tuple[int, int]]:
    """Return recipients that wait by a clock that stood ahead, one transaction's worth:
    accepted or tried after `now`, they say. What is scheduled or held is not of them."""
    rows = connection.execute(_WRITTEN_AHEAD, {"now": now})
    return [(row.message_id, row.position) for row in rows]


def call_back(
    connection: Connection, early: Collection[tuple[int, int]], now: int
) -> int:
    """Make due those of `early` that still wait; return how many."""
    rows = [{"this": number, "at": place, "now": now} for number, place in early]
    return connection.execute(MAKE_DUE_AGAIN, rows).rowcount


def pulled_forward(
    connection: Connection, by: int, now: int, *, after: Place
) -> Place | None:
    """Let what waits for a retry wait `by` ms less, one transaction's worth; return the
    place to go on `after`, None at the end."""
    rows = connection.execute(
        _FOR_A_RETRY, {"now": now, "message": after[0], "place": after[1]}
    ).all()
    if not rows:
        return None
    connection.execute(
        _WAIT_UNTIL,
        [
            {
                "this": row.message_id,
                "at": row.position,
                "due_at": max(now, row.due_at - by),
            }
            for row in rows
        ],
    )
    return rows[-1].message_id, rows[-1].position


_PUT_OFF = (
    select(recipient.c.message_id, recipient.c.position)
    .where(
        WAITING,
        recipient.c.due_at > bindparam("latest"),
        recipient.c.due_at < NEVER,
        recipient.c.reason.not_in([Reason.SCHEDULED.value, Reason.SLOWED.value]),
    )
    .limit(ROWS_AT_ONCE)
)
_TRIED_AHEAD = exists().where(
    attempt.c.message_id == recipient.c.message_id,
    attempt.c.position == recipient.c.position,
    attempt.c.at > bindparam("now"),
)
_WRITTEN_AHEAD = (
    select(recipient.c.message_id, recipient.c.position)
    .join(message, message.c.id == recipient.c.message_id)
    .where(
        WAITING,
        recipient.c.due_at > bindparam("now"),
        recipient.c.due_at < NEVER,
        recipient.c.reason != Reason.SCHEDULED.value,
        or_(message.c.accepted_at > bindparam("now"), _TRIED_AHEAD),
    )
    .limit(ROWS_AT_ONCE)
)
_KEY = tuple_(recipient.c.message_id, recipient.c.position)
_FOR_A_RETRY = (
    select(recipient.c.message_id, recipient.c.position, recipient.c.due_at)
    .where(
        WAITING,
        recipient.c.due_at > bindparam("now"),
        recipient.c.due_at < NEVER,
        recipient.c.reason != Reason.SCHEDULED.value,
        tuple_(bindparam("message"), bindparam("place")) < _KEY,
    )
    .order_by(recipient.c.message_id, recipient.c.position)
    .limit(ROWS_AT_ONCE)
)
_WAIT_UNTIL = update(recipient).where(THIS, WAITING).values(due_at=bindparam("due_at"))
