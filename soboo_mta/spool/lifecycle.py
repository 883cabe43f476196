"""The states of one recipient and the legal moves between them; nothing else moves it."""

from enum import StrEnum
from typing import assert_never

from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Outcome, Reason


class RecipientState(StrEnum):
    """Where one recipient of one message stands."""

    QUEUED = "queued"  # due at its time, not tried yet
    ACTIVE = "active"  # claimed by a worker under its lease
    DELIVERED = "delivered"  # the next hop said 250
    DEFERRED = "deferred"  # due again at its time
    HELD = "held"  # waits for a gate to open or for somebody's release
    FAILED = "failed"  # refused for good
    EXPIRED = "expired"  # its lifetime ended first
    CANCELLED = "cancelled"  # taken back by the operator or the tenant
    RETURNED = "returned"  # delivered, and came back


class IllegalMove(Exception):
    """A move that the table does not have: a bug, never a peer's doing."""


_S = RecipientState
MOVES: dict[RecipientState, frozenset[RecipientState]] = {
    _S.QUEUED: frozenset({_S.ACTIVE, _S.HELD, _S.EXPIRED, _S.CANCELLED}),
    _S.ACTIVE: frozenset(
        {
            _S.QUEUED,  # its lease is dead, or it was given back untried
            _S.DELIVERED,
            _S.DEFERRED,
            _S.HELD,
            _S.FAILED,
            _S.EXPIRED,
            _S.CANCELLED,
        }
    ),
    _S.DEFERRED: frozenset({_S.ACTIVE, _S.QUEUED, _S.HELD, _S.EXPIRED, _S.CANCELLED}),
    _S.HELD: frozenset({_S.ACTIVE, _S.QUEUED, _S.FAILED, _S.EXPIRED, _S.CANCELLED}),
    _S.DELIVERED: frozenset({_S.RETURNED}),
    _S.FAILED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.RETURNED: frozenset(),
}
WAITING_STATES = frozenset({_S.QUEUED, _S.DEFERRED, _S.HELD})
SETTLED_STATES = frozenset(MOVES) - WAITING_STATES - {_S.ACTIVE}


def move(old: RecipientState, new: RecipientState) -> RecipientState:
    """Return `new` where the table allows to go there from `old`; else IllegalMove."""
    if new not in MOVES[old]:
        raise IllegalMove(f"{old} does not become {new}")
    return new


def state_after(outcome: Outcome) -> RecipientState:
    """Return the state that an attempt's `outcome` moves an active recipient to."""
    match outcome:
        case Delivered():
            return move(_S.ACTIVE, _S.DELIVERED)
        case Deferred():
            return move(_S.ACTIVE, _S.DEFERRED)
        case Held():
            return move(_S.ACTIVE, _S.HELD)
        case Failed(reason=Reason.LIFETIME):
            return move(_S.ACTIVE, _S.EXPIRED)
        case Failed():
            return move(_S.ACTIVE, _S.FAILED)
        case _:
            assert_never(outcome)
