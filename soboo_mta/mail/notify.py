"""What a sender asked to be told about a message's delivery (RFC 3461 §4).

Frozen values, free of xtext: `formats.dsn.parameters` reads and writes their wire form.
"""

from dataclasses import dataclass
from enum import StrEnum


class Returned(StrEnum):
    """RET: how much of the message comes back with a report of failure."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(StrEnum):
    """NOTIFY: when to report; NEVER stands alone (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """ORCPT: an address as its sender wrote it, `kind` its address-type ("rfc822",
    "utf-8"); `address` is decoded and has no control characters."""

    kind: str
    address: str

    def __str__(self) -> str:
        return f"{self.kind};{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Of one recipient. `notify` empty: nothing was said."""

    notify: frozenset[Notify] = frozenset()
    orcpt: OriginalRecipient | None = None


ASKED_NOTHING = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class DsnRequest:
    """All that MAIL and RCPT asked of one message; `asked` is by recipient position.

    `envelope_id` "" and `returned` None: not said.
    """

    returned: Returned | None = None
    envelope_id: str = ""
    asked: tuple[Asked, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked at all."""
        return (
            self.returned is None
            and not self.envelope_id
            and all(one == ASKED_NOTHING for one in self.asked)
        )


def wants_failures(notify: frozenset[Notify]) -> bool:
    """Whether a failure is reported: unless something else alone was asked for."""
    return not notify or Notify.FAILURE in notify


def wants_delays(notify: frozenset[Notify], *, by_default: bool) -> bool:
    """Whether a delay is; `by_default`: to a sender that asked for nothing."""
    return Notify.DELAY in notify or (not notify and by_default)
