"""Whether a return goes home, noted in the transaction that settles it.

What is only claimed to be about a message goes nowhere, and neither does what came back for
something that was sent home: there is no second round. How many go is bounded, whoever
sends them, and asking costs little: it is done under the writers' lock.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.formats.authentication import Authentication, Result
from soboo_mta.mail.ids import OPERATOR
from soboo_mta.mail.notify import Notify, wants_delays, wants_failures
from soboo_mta.mail.returned import (
    Action,
    AutoReply,
    Challenge,
    Dsn,
    HumanReply,
    Return,
    Unrecognised,
)
from soboo_mta.returns.attribution import Attribution, By
from soboo_mta.returns.forwarding.options import ForwardingOptions
from soboo_mta.returns.reception import DoorKind
from soboo_mta.returns.verdict import Verdict
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.spool.returned.forwarding import (
    Submitted,
    Whose,
    note_forward,
    note_stay,
    noted_of_recipient,
    noted_of_tenant,
    submitted,
)
from soboo_mta.store.unit import Statement, perform
from soboo_mta.tenancy.accounts import Returns

ACTOR: Final = "returns"
_HOUR_MS: Final = 3_600_000
_DESK_DOORS: Final = frozenset((DoorKind.POSTMASTER, DoorKind.ABUSE))
_FORGED: Final = (
    "its Author's domain has it rejected (DMARC): signed by us it would pass"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A return that was settled; `has_moved`: by it the recipient became RETURNED."""

    unread: Unread
    found: Return
    attribution: Attribution | None
    verdict: Verdict
    has_moved: bool
    authentication: Authentication | None


class Deciding:
    """See the module."""

    def __init__(self, options: ForwardingOptions) -> None:
        self._options = options

    def decide(self, connection: Connection, case: Case, *, now: int) -> None:
        """Note that the return goes home, or tell why it does not where it should."""
        if goes_home(case):
            self._send_home(connection, case, now)
        elif case.unread.door in _DESK_DOORS and self._options.desk is not None:
            self._note(connection, Whose(case.unread.returned_id, OPERATOR), case, now)

    def _send_home(self, connection: Connection, case: Case, now: int) -> None:
        assert case.attribution is not None
        whom = case.attribution.about
        sent = submitted(connection, whom.message_id, whom.position)
        if sent is None or sent.returns != Returns.HOME:
            return
        if sent.reverse_path.is_null or not self._is_asked_for(case, sent):
            return  # RFC 5321 §4.5.5: nobody is to be told
        whose = Whose(
            case.unread.returned_id, whom.tenant, whom.message_id, whom.position
        )
        self._note(connection, whose, case, now)

    def _is_asked_for(self, case: Case, sent: Submitted) -> bool:
        """Whether the sender wants to hear of it, as of our own reports (RFC 3461 §4.1)."""
        notify = sent.asked.notify
        match case.verdict.action:
            case None:
                return True  # no report
            case Action.FAILED:
                return wants_failures(notify)
            case Action.DELAYED:
                return wants_delays(notify, by_default=self._options.warn_of_delay)
            case _:
                return Notify.SUCCESS in notify

    def _note(self, connection: Connection, whose: Whose, case: Case, now: int) -> None:
        """Note it within the bounds. The first that is one too many says so."""
        options = self._options
        # A failure is known once: answers that came before take no place of it.
        of_recipient = 0 if case.has_moved else noted_of_recipient(connection, whose)
        of_tenant = noted_of_tenant(connection, whose, since=now - now % _HOUR_MS)
        if of_recipient > options.per_recipient or of_tenant > options.per_hour:
            return
        why = ""
        if of_recipient == options.per_recipient:
            why = f"{of_recipient} about one recipient of a message went home already"
        elif of_tenant == options.per_hour:
            why = f"{of_tenant} went home in this hour already"
        if why:
            note_stay(connection, whose, now=now)
        elif _is_forged(case):
            why = _FORGED
        else:
            note_forward(connection, whose, now=now)
        if why:
            perform(connection, withheld(whose, why, now=now))


def goes_home(case: Case) -> bool:
    """Whether a return of its kind, and as it came, is for the sender of a message.

    A failure is, with the return that made it known: never beside a report of our own on
    the same recipient, and never twice. A complaint is not: who complains has not agreed
    to that.
    """
    if case.attribution is None or not case.attribution.by.is_proof:
        return False
    whom = case.attribution.about
    if whom.is_report:
        return False  # it went home once
    match case.found:
        case Dsn():
            was_delivered = whom.state is RecipientState.DELIVERED
            return case.has_moved if case.verdict.is_final else was_delivered
        case AutoReply() | Challenge() | HumanReply() | Unrecognised():
            return case.attribution.by is By.ADDRESS
        case _:
            return False


def withheld(whose: Whose, why: str, *, now: int) -> Statement:
    """Return the event that a return stays."""
    return recorded(
        EventKind.FORWARD_WITHHELD,
        at=now,
        actor=ACTOR,
        tenant=whose.tenant or None,
        message_id=whose.message_id,
        detail={"return": whose.returned_id, "cause": why},
    )


def _is_forged(case: Case) -> bool:
    proved = case.authentication
    return (
        proved is not None
        and proved.dmarc.result is Result.FAIL
        and proved.dmarc.policy == "reject"
        and not isinstance(case.found, Dsn)  # the Author of ours is the operator
    )
