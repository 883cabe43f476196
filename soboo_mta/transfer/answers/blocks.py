"""Refusals that are not the recipient's: of our address, or of what a tenant sends. Pure.

Read from the enhanced status where it says it (RFC 3463 §3.8, RFC 7372) and from the words
that large receivers and block lists use. What speaks of the mailbox is none, whatever words
it has besides.
"""

import re
from enum import StrEnum
from typing import Final

from soboo_mta.mail.reply import Reply


class Block(StrEnum):
    """Whom a refusal means."""

    SOURCE = "source"  # the address that we send from: all mail to the site
    CONTENT = "content"  # this mail and its like: the tenant's


_MAILBOX_SUBJECTS: Final = (1, 2)  # of RFC 3463: addressing, mailbox
_SOURCE_STATUSES: Final = frozenset(
    ((7, 25), *((7, detail) for detail in range(606, 650)))
)  # no reverse DNS (RFC 7372 §3.3); Microsoft's "banned sending IP"
_MAILBOX: Final = re.compile(
    r"user unknown|unknown user|no such (user|mailbox|recipient)|does(n.t| not) exist"
    r"|mailbox (unavailable|full|not found)|over quota|not listed in"
    r"|recipient (address )?(rejected|not found)"
    r"|invalid (recipient|mailbox)",
    re.I,
)
_SOURCE: Final = re.compile(
    r"block(ed)? ?list|blacklist|denylist|\bdns ?[br]ls?\b|\brbls?\b|spamhaus|spamcop"
    r"|barracudacentral|uceprotect|abusix|blocked using|listed (at|by|in|on)\b"
    r"|(client host|ip address|\bips?\b|network|connecting host|\[[0-9a-f.:]{7,45}\])"
    r"[^.]{0,60}\b(blocked|banned|rejected|refused|reputation|listed|weren.t sent)"
    r"|(banned|blocked|bad|poor|low) (sending |sender |source )?(ip|host|network)"
    r"|(ip|host|server|network)('s)? reputation|reputation of the sending ip"
    r"|messages from \S+ (temporarily deferred|weren.t sent)"
    r"|reverse dns|ptr (resource )?record",
    re.I,
)
_CONTENT: Final = re.compile(
    r"\bspam(my)?\b(?!haus|cop)|virus|malware|phish|unsolicited|suspicious"
    r"|(message|mail) content|content (rejected|rejection|filter|policy)|contains? a? ?(bad|"
    r"malicious|forbidden) (url|link|attachment)|surbl|uribl|\bdbl\b"
    r"|reputation of the sending domain|domain('s)? reputation",
    re.I,
)


def block_in(reply: Reply) -> Block | None:
    """Return whom a 4xx or 5xx reply refuses, where that is not its recipient."""
    if not (reply.is_transient or reply.is_permanent):
        return None
    status = reply.status
    if status is not None:
        if status.subject in _MAILBOX_SUBJECTS:
            return None
        if (status.subject, status.detail) in _SOURCE_STATUSES:
            return Block.SOURCE
    if _MAILBOX.search(reply.text):
        return None
    if "sending domain" not in reply.text and _SOURCE.search(reply.text):
        return Block.SOURCE
    return Block.CONTENT if _CONTENT.search(reply.text) else None
