"""What a report says of one recipient (RFC 3464 §2.3), as a value."""

from dataclasses import dataclass
from datetime import datetime

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.notify import OriginalRecipient
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import EnhancedStatus, Reply
from soboo_mta.mail.returned import Action

_EXPIRED = EnhancedStatus(4, 4, 7)  # RFC 3463 §3.5: delivery time expired


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStatus:
    """One recipient's. `remote_mta` is the host whose `reply` it is, "" where the reply
    is our own, in a report that was passed on the host that wrote it; `is_expired`: tried,
    or held, to the end of its lifetime."""

    recipient: Mailbox
    original: OriginalRecipient | None
    action: Action
    reason: Reason
    reply: Reply
    remote_mta: str
    last_attempt: datetime
    retry_until: datetime | None = None
    is_expired: bool = False
    meaning: str = ""  # of the reply, a sentence of ours

    @property
    def status(self) -> EnhancedStatus:
        """The reply's, where its class is the action's."""
        if self.is_expired:
            return _EXPIRED
        family = _FAMILIES.get(self.action, 2)
        said = self.reply.status
        if said is not None and said.family == family:
            return said
        return EnhancedStatus(family, 0, 0)


_FAMILIES = {Action.FAILED: 5, Action.DELAYED: 4}  # the others are 2: RFC 3463 §3.1


def one_line(text: str, limit: int, *, ascii_only: bool = False) -> str:
    """Return `text` as at most `limit` printable characters with single spaces.

    Whatever a peer put into it, it starts no field, no line and no escape sequence.
    """
    shown = text[: 4 * limit]
    clean = "".join(char if char.isprintable() else " " for char in shown)
    line = " ".join(clean.split())
    if ascii_only:
        line = line.encode("ascii", "replace").decode()
    return line if len(line) <= limit else f"{line[: limit - 4].rstrip()} ..."
