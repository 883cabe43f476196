"""Where the relay is killed: named points of acceptance and settlement.

Each is put around a function of the relay from outside (see die.py): the code has no
hooks, and a function that was renamed makes the relay refuse to start under its point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from soboo_mta.mail.outcome import Delivered
from soboo_mta.net.smtp_client.session import SmtpSession
from soboo_mta.net.smtp_client.wire import Wire
from soboo_mta.net.smtp_server.session.commands import SubmissionSession
from soboo_mta.spool import spool
from soboo_mta.spool.content import INSERT_MESSAGE, INSERT_PIECE
from soboo_mta.spool.moves import settle
from soboo_mta.store import writer
from soboo_mta.store.execute import Runner
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.transfer.classify import Stage
from soboo_mta.transfer.settlement import Settlements

Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Before or after `method` of `owner`, a class or module, where `counts` says so.

    `most` is the largest count at which a round kills. `written` names the transport
    that must have handed everything to the kernel first.
    """

    owner: Any
    method: str
    before: bool = False
    counts: Callable[[Arguments], bool] = lambda _: True
    most: int = 10
    written: Callable[[Arguments], Any] | None = None


def _batches_have(clause: object) -> Callable[[Arguments], bool]:
    return lambda args: any(batch.clause is clause for batch in args[2])


def _units_have(clause: object) -> Callable[[Arguments], bool]:
    return lambda args: any(
        statement.clause is clause for unit in args[1] for statement in unit
    )


def _is_first_piece(args: Arguments) -> bool:
    """The messages of these tests have two pieces or more."""
    return any(
        statement.clause is INSERT_PIECE and statement.rows[0]["number"] == 0
        for unit in args[1]
        for statement in unit
    )


_SETTLE = settle._SETTLE_RECIPIENT
_TRANSACTOR = writer._Transactor

POINTS = {
    # ---- acceptance, in the order of the way
    "between two pieces of a large message": Point(
        owner=_TRANSACTOR, method="commit", counts=_is_first_piece, most=3
    ),
    "before the accepting commit": Point(  # its statements ran, COMMIT did not
        owner=Runner, method="run", counts=_batches_have(INSERT_MESSAGE), most=5
    ),
    "after the accepting commit": Point(  # nobody but the writer's thread knows
        owner=_TRANSACTOR, method="commit", counts=_units_have(INSERT_MESSAGE), most=5
    ),
    "after the hand-over, before 250": Point(owner=Acceptance, method="data"),
    "after 250 was written": Point(
        owner=SubmissionSession,
        method="_take_message",
        written=lambda args: args[0].transport,
    ),
    # ---- delivery and settlement
    "before MAIL": Point(owner=SmtpSession, method="deliver", before=True),
    "after the final dot": Point(  # sent whole; the reply not read
        owner=Wire,
        method="answers",
        before=True,
        counts=lambda args: args[0]._stages == (Stage.DOT,) and args[0].is_clean,
        written=lambda args: args[0].transport,
    ),
    "after the reply": Point(
        owner=Settlements,
        method="settle",
        before=True,
        counts=lambda args: isinstance(args[2].outcome, Delivered),
    ),
    "before the settling commit": Point(
        owner=Runner, method="run", counts=_batches_have(_SETTLE), most=5
    ),
    "after the settling commit": Point(
        owner=_TRANSACTOR, method="commit", counts=_units_have(_SETTLE), most=5
    ),
    # ---- what is due
    "in the claim of due mail": Point(owner=spool, method="take", most=2),
    "after the claim of due mail": Point(
        owner=spool.Spool,
        method="_loaded",
        before=True,
        counts=lambda args: len(args[1]) > 0,
        most=2,
    ),
    "in taking over from the dead": Point(owner=spool, method="take_over", most=1),
}
SURE_DUPLICATES = frozenset({"after the reply", "before the settling commit"})
"""The next hop said 250 and the store does not know: these must lead to a duplicate."""
NEED_THE_DEAD = frozenset({"in taking over from the dead"})
"""Reached only where another life ended badly before."""
