"""What every message in which a return goes home says of itself, and how it is known again.

The mark is the operator's address in an X-Loop field: who forwards leaves it standing, and
what bears it is not sent home a second time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId

SENDER = "replies"  # the local part that answers come from
_HEADER_OCTETS = 131_072  # in which the mark is looked for
_MARK = re.compile(rb"\r?\nx-loop:[ \t]*([^\r\n]{1,320})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """`is_automatic`: no program may answer it (RFC 3834 §2)."""

    forward_id: MessageId
    domain: Domain  # the operator's
    to: Mailbox
    made_at: datetime
    is_automatic: bool

    @property
    def sender(self) -> Mailbox:
        return Mailbox(SENDER, self.domain)

    @property
    def header_message_id(self) -> str:
        return f"<{self.forward_id}@{self.domain}>"

    @property
    def mark(self) -> str:
        return f"X-Loop: {self.sender}"

    def fields(self) -> Iterator[str]:
        """The fields of its own that stand in each form."""
        yield f"To: <{self.to}>"
        yield f"Message-ID: {self.header_message_id}"
        yield self.mark
        if self.is_automatic:
            yield "Auto-Submitted: auto-replied"  # RFC 3834 §5


def has_mark(content: bytes, domain: Domain) -> bool:
    """Whether the operator of `domain` sent it home before."""
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    header = b"\n" + content[: end if end >= 0 else _HEADER_OCTETS]
    sender = str(Mailbox(SENDER, domain)).lower().encode()
    return any(found[1].strip().lower() == sender for found in _MARK.finditer(header))
