"""What a suppression is: whose mail does not go to which address, why, and for how long.

Values and decisions alone; nothing here knows the store.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import NO_STREAM, MessageId, Stream, TenantId

MAX_BECAUSE: Final = 200  # characters: it is shown in tables and replies
_MAX_SAID = 500  # characters of a reply or report


class SuppressionReason(StrEnum):
    """What suppressed an address; CLI and events use exactly these words."""

    INVALID = "invalid"  # there is no such mailbox
    SOFT_BOUNCES = "soft-bounces"  # too many failures in some days
    IMPORT = "import"  # it was on a list from elsewhere
    MANUAL = "manual"  # an operator's or a tenant's hand
    COMPLAINT = "complaint"  # the recipient called the mail spam
    UNSUBSCRIBE = "unsubscribe"  # the recipient asked for no more


_RANKS = {reason: rank for rank, reason in enumerate(SuppressionReason)}
"""Of two reasons for the same time the later word stays: what a person wants outlives what
a mailbox does. An unsubscription must hold when the mailbox is found well again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an entry rests on. `said`: a reply, or a line of a report; `failures`: when
    each of the soft failures was (unix ms)."""

    message: MessageId | None = None
    position: int | None = None
    said: str = ""
    bounce_class: BounceClass | None = None
    failures: tuple[int, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it ready for JSON, without what is not known."""
        known: dict[str, object] = {
            "message": None if self.message is None else str(self.message),
            "position": self.position,
            "said": self.said[:_MAX_SAID] or None,
            "class": None if self.bounce_class is None else self.bounce_class.value,
            "failures": list(self.failures) or None,
        }
        return {name: value for name, value in known.items() if value is not None}

    def __str__(self) -> str:
        return json.dumps(self.as_json())


NO_EVIDENCE: Final = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One entry: the tenant's mail does not go to `address`. `stream` NO_STREAM: none of
    it; else mail of that stream alone. Times are unix ms; `expires_at` None: never."""

    tenant: TenantId
    address: Mailbox
    reason: SuppressionReason
    because: str
    actor: str
    since: int
    stream: Stream = NO_STREAM
    evidence: Evidence = NO_EVIDENCE
    expires_at: int | None = None

    @property
    def key(self) -> str:
        """What the address is found by."""
        return folded(self.address)

    def is_over(self, now: int) -> bool:
        """Whether it suppresses nothing any more."""
        return self.expires_at is not None and self.expires_at <= now

    def replaces(self, before: "Suppression | None", now: int) -> bool:
        """Whether this is kept where `before` stands for the same address and stream:
        what lasts longer stays; of two that last as long, the reason of higher rank."""
        if before is None or before.is_over(now):
            return True
        if self.expires_at != before.expires_at:
            return _end(self) > _end(before)
        return _RANKS[self.reason] > _RANKS[before.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftRule:
    """`limit` soft failures `within` that time suppress the address for `lasts`."""

    limit: int
    within: timedelta
    lasts: timedelta | None = None  # for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRules:
    """What follows from failures. `soft` None: soft failures are not counted;
    `invalid_lasts` None: for ever."""

    soft: SoftRule | None
    invalid_lasts: timedelta | None = None


def folded(address: Mailbox) -> str:
    """The address in lower case: what an entry is found by."""
    return f"{address.local_part.lower()}@{address.domain}"


def parse_because(text: str) -> str:
    """Return why an address is suppressed: one line."""
    if not 0 < len(text.strip()) <= MAX_BECAUSE or not text.isprintable():
        raise FormatError(f"a reason is 1 to {MAX_BECAUSE} printable characters")
    return text.strip()


def evidence_of(known: Mapping[str, object]) -> Evidence:
    """Return what `Evidence.as_json` wrote."""
    message, position = known.get("message"), known.get("position")
    bounce_class, failures = known.get("class"), known.get("failures")
    return Evidence(
        message=None if message is None else MessageId.parse(str(message)),
        position=position if isinstance(position, int) else None,
        said=str(known.get("said", "")),
        bounce_class=None if bounce_class is None else BounceClass(str(bounce_class)),
        failures=tuple(failures) if isinstance(failures, list) else (),
    )


def _end(one: Suppression) -> float:
    return float("inf") if one.expires_at is None else one.expires_at
