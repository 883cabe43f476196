"""Refusals that are not the recipient's: of our address, or of what a tenant sends. Pure.

The rule set says why a reply refuses; here stands which of its classes mean more than one
recipient. What by its status speaks of a mailbox is none, whatever words it has besides.
"""

from enum import StrEnum
from typing import Final

from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.reply import Reply


class Block(StrEnum):
    """Whom a refusal means."""

    SOURCE = "source"  # the address that we send from: all mail to the site
    CONTENT = "content"  # this mail and its like: the tenant's


_MAILBOX_SUBJECTS: Final = (1, 2)  # of RFC 3463: addressing, mailbox
_OF_CLASS: Final = {
    BounceClass.BLOCKED_SOURCE: Block.SOURCE,
    BounceClass.SOURCE_DNS: Block.SOURCE,
    BounceClass.SPAM_CONTENT: Block.CONTENT,
    BounceClass.UNSAFE_CONTENT: Block.CONTENT,
    BounceClass.DOMAIN_REPUTATION: Block.CONTENT,
}


def block_in(reply: Reply, rules: RuleSet, *, host: str = "") -> Block | None:
    """Return whom a 4xx or 5xx reply of `host` refuses, where that is not its recipient."""
    if not (reply.is_transient or reply.is_permanent):
        return None
    if reply.status is not None and reply.status.subject in _MAILBOX_SUBJECTS:
        return None
    return _OF_CLASS.get(rules.of_reply(reply, host=host).bounce_class)
