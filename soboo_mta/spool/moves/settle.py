"""Statements of what becomes of a claim, and of the gates that hold mail back.

Every one of them names the claim's (worker, epoch); a claim that was lost makes its unit
Fenced. The content goes with the last recipient, in the same transaction.
"""

from typing import TypedDict

from sqlalchemy import Connection, and_, bindparam, delete, exists, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Held, Outcome, Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.spool.content import PIECE_OCTETS
from soboo_mta.spool.lifecycle import SETTLED_STATES, RecipientState, move, state_after
from soboo_mta.spool.moves.one import THIS
from soboo_mta.store.schema import ACTIVE, gate, message, piece, recipient
from soboo_mta.store.unit import Statement

NEVER = 253_402_300_799_000  # due in the year 9999: only a release ends the wait
_GATED = frozenset(
    {
        Reason.DOMAIN_BROKEN,
        Reason.NO_USABLE_KEY,
        Reason.TENANT_SUSPENDED,
        Reason.COMPLAINTS,
    }
)
_PIECES_AT_ONCE = 4  # more octets would make the transaction long: the sweep takes them


class _RecipientRow(TypedDict):
    this: int
    at: int
    number: int | None
    under: int | None
    state: str
    reason: str
    due_at: int
    attempts: int
    last_reply: str
    site: str
    gate: str | None


def settling(
    claimed: Claimed,
    outcome: Outcome,
    *,
    holder: tuple[int, int],
    at: int,
    due_at: int,
    site: str,
) -> list[Statement]:
    """Return the unit that settles one recipient; see `Spool.settlement`."""
    state = state_after(outcome)
    tried = 0 if isinstance(outcome, Held) else 1
    row = _row(claimed, holder, state, due_at)
    row["attempts"] = claimed.attempts + tried
    row["reason"] = str(getattr(outcome, "reason", Reason.REPLY))
    reply = outcome.explanation if isinstance(outcome, Held) else str(outcome.reply)
    row["last_reply"] = reply
    if isinstance(outcome, Held):
        row["gate"] = outcome.gate
    elif state is RecipientState.DEFERRED:
        row["site"] = site
    unit = [Statement(_SETTLE_RECIPIENT, (row,), expected=1)]
    if state in SETTLED_STATES:
        unit += _ending(claimed, at)
    return unit


def giving_back(
    claimed: Claimed, *, holder: tuple[int, int], reason: Reason, due_at: int
) -> list[Statement]:
    """Return the unit that makes a claim due again, untried."""
    state = move(RecipientState.ACTIVE, RecipientState.QUEUED)
    row = _row(claimed, holder, state, due_at)
    row["reason"] = str(reason)
    return [Statement(_SETTLE_RECIPIENT, (row,), expected=1)]


def warned(message_id: MessageId, position: int, at: int) -> Statement:
    """Return the statement that notes that the sender was told of a delay."""
    row = {"this": int(message_id), "at": position, "warned_at": at}
    return Statement(_WARNED, (row,))


def held_until(outcome: Outcome, at: int) -> int:
    """Return when a held recipient is due: once its gate is open, or never by itself."""
    return at if isinstance(outcome, Held) and outcome.reason in _GATED else NEVER


def closing(
    scope: str, subject: str, *, reason: Reason, explanation: str, since: int
) -> Statement:
    """Return the statement that closes a gate; one that is closed stays as it is."""
    row = {
        "scope": scope,
        "subject": subject,
        "reason": str(reason),
        "explanation": explanation,
        "since": since,
    }
    return Statement(_CLOSE_GATE, (row,))


def opening(scope: str, subject: str) -> Statement:
    """Return the statement that opens a gate; what waited behind it is due.

    One that was ordered stays (spool.operator.moves opens those).
    """
    return Statement(_OPEN_GATE, ({"of": scope, "for_subject": subject},))


def settle_if_last(connection: Connection, message_id: int, at: int) -> None:
    """Let the content go where no recipient of the message waits any more."""
    this = {"this": message_id}
    connection.execute(_LOCK_MESSAGE, this)
    connection.execute(_SETTLE_LAST, {**this, "settled_at": at})


def _row(
    claimed: Claimed, holder: tuple[int, int], state: RecipientState, due_at: int
) -> _RecipientRow:
    number, epoch = holder
    return {
        "this": int(claimed.message.message_id),
        "at": claimed.position,
        "number": number,
        "under": epoch,
        "state": state.value,
        "reason": "",
        "due_at": due_at,
        "attempts": claimed.attempts,
        "last_reply": "",
        "site": "",
        "gate": None,
    }


def _ending(claimed: Claimed, at: int) -> list[Statement]:
    """Return what ends a message where this was its last recipient."""
    this = {"this": int(claimed.message.message_id)}
    ended = {**this, "settled_at": at}
    if len(claimed.message.recipients) == 1:
        unit = [Statement(_SETTLE_SOLE, (ended,))]
    else:
        unit = [Statement(_LOCK_MESSAGE, (this,)), Statement(_SETTLE_LAST, (ended,))]
    size = claimed.message.size
    if PIECE_OCTETS < size <= _PIECES_AT_ONCE * PIECE_OCTETS:
        unit.append(Statement(_DROP_PIECES, (this,)))
    return unit


_SETTLE_RECIPIENT = (
    update(recipient)
    .where(
        THIS,
        ACTIVE,
        recipient.c.worker == bindparam("number"),
        recipient.c.epoch == bindparam("under"),
    )
    .values(
        state=bindparam("state"),
        reason=bindparam("reason"),
        due_at=bindparam("due_at"),
        attempts=bindparam("attempts"),
        last_reply=bindparam("last_reply"),
        site=bindparam("site"),
        gate=bindparam("gate"),
        worker=text("NULL"),
        epoch=text("NULL"),
    )
)
_WARNED = update(recipient).where(THIS).values(warned_at=bindparam("warned_at"))
_SETTLE_SOLE = (
    update(message)
    .where(message.c.id == bindparam("this"))
    .values(settled_at=bindparam("settled_at"), content=text("NULL"))
)
# Two workers that settle the last two recipients at once must not each see the other's as
# unsettled: on PostgreSQL the second waits here, then looks.
_LOCK_MESSAGE = (
    update(recipient)
    .where(
        recipient.c.message_id == bindparam("this"), recipient.c.position == text("0")
    )
    .values(attempts=recipient.c.attempts)
)
_unsettled = text("recipient.state IN ('queued', 'active', 'deferred', 'held')")
_SETTLE_LAST = _SETTLE_SOLE.where(
    ~exists().where(recipient.c.message_id == message.c.id, _unsettled)
)
_DROP_PIECES = delete(piece).where(
    piece.c.message_id == bindparam("this"),
    exists().where(
        and_(message.c.id == piece.c.message_id, message.c.settled_at.is_not(None))
    ),
)
# PostgreSQL's form: SQLite's compiler writes the same.
_CLOSE_GATE = insert_or(gate).on_conflict_do_nothing(
    index_elements=["scope", "subject", "reason"]
)
_OPEN_GATE = delete(gate).where(
    gate.c.scope == bindparam("of"),
    gate.c.subject == bindparam("for_subject"),
    text("gate.reason NOT IN ('operator-hold', 'complaints')"),  # mail.outcome.ORDERED
)
