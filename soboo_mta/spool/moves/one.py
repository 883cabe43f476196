"""Statements on one recipient, `this` message's `at` its position."""

from sqlalchemy import and_, bindparam, case, literal_column, update

from soboo_mta.mail.outcome import Reason
from soboo_mta.store.schema import WAITING, recipient

Place = tuple[int, int]
"""A recipient, by its message's id and its position."""
BEGINNING: Place = (-1, -1)
ROWS_AT_ONCE = 500
"""Of recipients in one small transaction."""
THIS = and_(
    recipient.c.message_id == bindparam("this"), recipient.c.position == bindparam("at")
)
MAKE_DUE = update(recipient).where(THIS, WAITING).values(due_at=bindparam("now"))
"""Where it waits for a time, `now` is it."""
MAKE_DUE_AGAIN = MAKE_DUE.values(
    reason=case(
        (
            recipient.c.reason == Reason.SLOWED.value,
            literal_column(f"'{Reason.ACCEPTED.value}'"),
        ),
        else_=recipient.c.reason,
    )
)
"""The same, where nobody's turn has come: what waited for one asks for it again."""
