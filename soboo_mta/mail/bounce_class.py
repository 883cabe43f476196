"""Why mail was refused, as a class; whom that is charged to; and what follows from it."""

from dataclasses import dataclass
from enum import StrEnum


class BounceClass(StrEnum):
    """CLI, events and the rule set use exactly these words."""

    INVALID_MAILBOX = "invalid-mailbox"
    INVALID_DOMAIN = "invalid-domain"
    INACTIVE_MAILBOX = "inactive-mailbox"
    MAILBOX_FULL = "mailbox-full"
    RECIPIENT_RULE = "recipient-rule"
    MESSAGE_TOO_LARGE = "message-too-large"
    UNSUPPORTED = "unsupported"
    UNAUTHENTICATED = "unauthenticated"
    DOMAIN_REPUTATION = "domain-reputation"
    SPAM_CONTENT = "spam-content"
    UNSAFE_CONTENT = "unsafe-content"
    BAD_FORM = "bad-form"
    BLOCKED_SOURCE = "blocked-source"
    SOURCE_DNS = "source-dns"
    RATE_LIMITED = "rate-limited"
    GREYLISTED = "greylisted"
    TLS_REQUIRED = "tls-required"
    RELAYING_DENIED = "relaying-denied"
    POLICY = "policy"
    LOOP = "loop"
    NO_ANSWER = "no-answer"
    DNS_FAILURE = "dns-failure"
    PEER_TROUBLE = "peer-trouble"
    EXPIRED = "expired"
    CHALLENGE = "challenge"
    AUTO_REPLY = "auto-reply"
    UNKNOWN = "unknown"


class Charged(StrEnum):
    """Whose matter it is."""

    RECIPIENT = "recipient"  # its mailbox, or its own rules
    DOMAIN = "domain"  # the tenant's domain: its records, its name
    SOURCE = "source"  # the address that mail leaves from
    CONTENT = "content"  # what the tenant sends
    DESTINATION = "destination"  # the receiver's own trouble
    NOBODY = "nobody"  # it says nothing of the kind


class Consequence(StrEnum):
    """What follows where it is for good (5xx, or a report of failure)."""

    SUPPRESS = "suppress"  # the recipient, at once
    COUNT = "count"  # several of these in some days suppress the recipient
    CHECK_DNS = "check-dns"  # the domain is looked at again, now
    TELL = "tell"  # an event says it; nothing else
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """What one class is; `says` is a sentence for people."""

    says: str
    charged: Charged
    consequence: Consequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The class of one text, and by which rule: `rule` is its name, `matched` the words
    or the code that decided; both "" where none did. `provider` is whose rules were asked
    first, "" for a receiver without rules of its own."""

    bounce_class: BounceClass
    facts: ClassFacts
    rule: str = ""
    matched: str = ""
    provider: str = ""
