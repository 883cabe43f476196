"""The table of moves: what is in it is legal, all else raises."""

import pytest

from soboo_mta.mail.outcome import Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.lifecycle import (
    MOVES,
    SETTLED_STATES,
    IllegalMove,
    RecipientState,
    move,
    state_after,
)

PAIRS = [(old, new) for old in RecipientState for new in RecipientState]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_moves_of_the_table_are_made(
    old: RecipientState, new: RecipientState
) -> None:
    if new in MOVES[old]:
        assert move(old, new) is new
    else:
        with pytest.raises(IllegalMove):
            move(old, new)


def test_settled_recipients_only_come_back_as_returned() -> None:
    after = {new for state in SETTLED_STATES for new in MOVES[state]}
    assert after == {RecipientState.RETURNED}


def test_nothing_is_delivered_without_being_claimed() -> None:
    before = [old for old in MOVES if RecipientState.DELIVERED in MOVES[old]]
    assert before == [RecipientState.ACTIVE]


def test_end_of_lifetime_is_expired_not_failed() -> None:
    late = Failed(
        reply=reply(451, "4.4.7", "too late"),
        reason=Reason.LIFETIME,
        scope=Scope.RECIPIENT,
    )
    assert state_after(late) is RecipientState.EXPIRED
    held = Held(reason=Reason.OPERATOR_HOLD, explanation="")
    assert state_after(held) is RecipientState.HELD
