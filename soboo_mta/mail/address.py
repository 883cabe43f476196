"""Mailboxes and paths (RFC 5321 §4.1.2), parsed strictly at the door.

What `parse_reverse_path` and `parse_mailbox` accept is safe to put into a command line
again: no control octets, no spaces or angle brackets outside quotes, bounded lengths.
"""

import re
from dataclasses import dataclass

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError

MAX_LOCAL_PART_OCTETS = 64  # RFC 5321 §4.5.3.1.1
MAX_PATH_OCTETS = 256  # RFC 5321 §4.5.3.1.3
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED_STRING = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')
_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\u0080-\u009f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox; `local_part` keeps its case and, where it needs them, its quotes."""

    local_part: str
    domain: Domain

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        return self.local_part.isascii()


@dataclass(frozen=True, slots=True)
class ReversePath:
    """The MAIL FROM address; `mailbox` is None for the null reverse-path `<>`."""

    mailbox: Mailbox | None

    @property
    def is_null(self) -> bool:
        return self.mailbox is None

    def __str__(self) -> str:
        return "" if self.mailbox is None else str(self.mailbox)


NULL_REVERSE_PATH = ReversePath(None)


def parse_mailbox(text: str) -> Mailbox:
    """Return the mailbox that `text` (no angle brackets) names, or raise FormatError."""
    if _UNSAFE.search(text):
        raise FormatError("the address has a control character")
    local_part, at, domain = text.rpartition("@")
    if not at:
        raise FormatError(f"the address {text[:60]!r} has no domain: write user@domain")
    if not (_DOT_STRING.fullmatch(local_part) or _QUOTED_STRING.fullmatch(local_part)):
        raise FormatError(f"the local part {local_part[:60]!r} is not valid")
    if len(local_part.encode()) > MAX_LOCAL_PART_OCTETS:
        raise FormatError("the local part is over 64 octets")
    mailbox = Mailbox(local_part, Domain.parse(domain))
    if len(str(mailbox).encode()) + 2 > MAX_PATH_OCTETS:
        raise FormatError("the path is over 256 octets")
    return mailbox


def parse_reverse_path(text: str) -> ReversePath:
    """As `parse_mailbox`; the empty text is the null reverse-path (RFC 5321 §4.5.5)."""
    return NULL_REVERSE_PATH if text == "" else ReversePath(parse_mailbox(text))
