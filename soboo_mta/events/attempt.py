"""One row an attempt: the source of events, webhooks and evidence; plans are interned.

Statements alone: they are committed in one unit with the settlement they tell of.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.formats.classes.rules import KEPT
from soboo_mta.mail.ids import MessageId, PlanId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Outcome, Reason
from soboo_mta.store.schema import attempt, plan
from soboo_mta.store.unit import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """The circumstances of one attempt; empty texts where it came to no connection."""

    at: int  # unix ms
    host: str = ""  # "name[address]:port"
    source: str = ""
    tls: str = ""
    duration_ms: int = 0
    plan_id: PlanId | None = None
    dialogue: str = ""  # what was said; bounded by who gives it


def attempted(
    message_id: MessageId, position: int, outcome: Outcome, facts: AttemptFacts
) -> Statement:
    """Return the statement that records one attempt on one recipient."""
    reply = outcome.explanation if isinstance(outcome, Held) else str(outcome.reply)
    reason = Reason.REPLY if isinstance(outcome, Delivered) else outcome.reason
    row = {
        "message_id": int(message_id),
        "position": position,
        "at": facts.at,
        "outcome": outcome_word(outcome),
        "reason": reason.value,
        "reply": reply[:KEPT],
        "host": facts.host,
        "source": facts.source,
        "tls": facts.tls,
        "duration_ms": facts.duration_ms,
        "plan_id": facts.plan_id,
        "dialogue": facts.dialogue or None,
    }
    return Statement(_INSERT, (row,))


def outcome_word(outcome: Outcome) -> str:
    """Return "delivered", "deferred", "failed", "expired" or "held"."""
    if isinstance(outcome, Failed) and outcome.reason is Reason.LIFETIME:
        return "expired"
    return _WORDS[type(outcome)]


def plan_interned(detail: str) -> tuple[PlanId, Statement]:
    """Return the id of a plan (its canonical JSON) and the statement that keeps it once.

    Equal details have equal ids. The statement may be left out of later units of this
    process once one with it was committed.
    """
    digest = hashlib.blake2b(detail.encode(), digest_size=8).digest()
    plan_id = int.from_bytes(digest, "big") >> 1  # 63 bits: both stores' integers
    row = {"id": plan_id, "detail": detail}
    return PlanId(plan_id), Statement(_INTERN, (row,))


_WORDS: dict[type, str] = {
    Delivered: "delivered",
    Deferred: "deferred",
    Failed: "failed",
    Held: "held",
}
_INSERT = insert(attempt)
# PostgreSQL's form: SQLite's compiler writes the same.
_INTERN = insert_or(plan).on_conflict_do_nothing(index_elements=["id"])
