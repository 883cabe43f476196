"""SMTP replies with their enhanced status (RFC 5321 §4.2, RFC 3463, RFC 2034)."""

import re
from dataclasses import dataclass
from typing import Self

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|$)")
_FAILURE = re.compile(  # inside a text: no version, no IP address
    r"(?<![\w.])([45])\.(\d{1,3})\.(\d{1,3})(?!\w|\.\w)"
)
MAX_REPLY_CHARACTERS = 2_000  # a peer's reply is stored and shown: bounded (case 145)


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """class.subject.detail of RFC 3463, for example 5.1.1."""

    family: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.family}.{self.subject}.{self.detail}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the status that `text` begins with, or None."""
        found = _ENHANCED.match(text)
        return cls(*(int(part) for part in found.groups())) if found else None

    @classmethod
    def failure_in(cls, text: str) -> Self | None:
        """Return the first status of class 4 or 5 that stands in `text`, or None."""
        found = _FAILURE.search(text)
        return cls(*(int(part) for part in found.groups())) if found else None


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: three-digit `code`, `status` where one is known, one line of `text`.

    A reply received from a peer went through `Reply.received`, so its text is printable
    and bounded.
    """

    code: int
    status: EnhancedStatus | None
    text: str

    def __str__(self) -> str:
        status = f" {self.status}" if self.status else ""
        return f"{self.code}{status} {self.text}".rstrip()

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    @classmethod
    def received(cls, code: int, text: str) -> Self:
        """A peer's reply: control characters become spaces, over-long text is cut."""
        line = text[:8_192]
        if not line.isprintable():
            line = "".join(c if c.isprintable() else " " for c in line)
        line = " ".join(line.split())[:MAX_REPLY_CHARACTERS]
        status = EnhancedStatus.parse(line)
        if status and status.family != code // 100:
            status = None
        rest = line[len(str(status)) :].lstrip() if status else line
        return cls(code, status, rest)


def reply(code: int, status: str, text: str) -> Reply:
    """A reply of ours; `status` such as "5.7.1" must be well formed."""
    parsed = EnhancedStatus.parse(status)
    if parsed is None:
        raise ValueError(status)
    return Reply(code, parsed, text)
