"""How a sending domain's records and capabilities stand, over time.

For people alone: lists, notices, history. What departs is decided by `Facts`, at once and
without grace; nothing here is read by `depart`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.identity.state import Fault, Purpose
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import RecordType

PROOFS = (Purpose.BOUNCE, Purpose.SELECTOR, Purpose.OWNERSHIP)
"""The records whose value is bound to one tenant's token or key."""


class Standing(StrEnum):
    """One word for how something stands; `onboarding.watch.states` has the moves."""

    VERIFIED = "verified"  # the last answer showed it as it should be
    PENDING = "pending"  # not seen good yet; looked at often at first
    STALLED = "stalled"  # not seen good for as long as one waits; looked at seldom
    AT_RISK = "at-risk"  # was good, is missing or wrong; within the grace
    BROKEN = "broken"  # so for longer than the grace
    RELEASED = "released"  # of a domain alone: given up by its tenant


class Capability(StrEnum):
    """What a domain can do, computed from several records and what is behind them."""

    OWNERSHIP = "ownership"  # a proof bound to this tenant stands, and is the one
    SIGN = "can_sign"  # receivers find a key that may sign
    SIGN_AS_AUTHOR = "can_sign_as_author"  # beside a zone: d= identical to From
    BOUNCE = "can_bounce"  # the bounce host leads to us
    SPF = "spf"  # SPF of the From domain passes for our sources
    LINK = "can_link"  # the link host leads to us, and a host there answers
    IMAGE = "can_image"
    HELO = "can_helo"  # our EHLO names in the customer's zone lead to our addresses
    DMARC = "dmarc"  # a valid record is found
    REPORT = "can_report"  # and has aggregate reports sent to us, who take them


@dataclass(frozen=True, slots=True)
class RecordName:
    """A required record: what is asked for, whatever its value."""

    owner: DnsName
    kind: RecordType

    def __str__(self) -> str:
        return f"{self.owner} {self.kind}"


Subject = Capability | RecordName


def subject_of(text: str) -> Subject:
    """Return the subject that `str` made `text` of; ValueError for other text."""
    owner, space, kind = text.partition(" ")
    if not space:
        return Capability(text)
    return RecordName(DnsName(owner), RecordType(kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How one subject stands. Times are unix ms.

    `told` is the standing that was last told of: another one than `standing` only while
    it flaps. `turns` are the last changes between good and not good, oldest first.
    """

    subject: Subject
    standing: Standing
    since: int
    told: Standing
    is_required: bool
    turns: tuple[int, ...] = ()
    is_flapping: bool = False
    cause: str = ""
    fault: Fault = Fault.NONE


_WORST_LAST = (
    Standing.VERIFIED,
    Standing.PENDING,
    Standing.STALLED,
    Standing.AT_RISK,
    Standing.BROKEN,
)


def worst(conditions: Iterable[Condition]) -> Standing | None:
    """Return how a domain stands as a whole: as the worst of what it needs; None where
    nothing was looked at."""
    needed = [one.standing for one in conditions if one.is_required]
    return max(needed, key=_WORST_LAST.index, default=None)
