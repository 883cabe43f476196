"""What became of one recipient in one attempt, and why a recipient waits or ended.

An operation on several recipients answers with one outcome for each of them, always.
"""

from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.mail.reply import Reply


class Scope(StrEnum):
    """How far a failure reaches: it decides what to try next (Postfix `smtp_trouble.c`)."""

    RECIPIENT = "recipient"  # go on with the next recipient
    MESSAGE = "message"  # stop this message; the connection is good
    TENANT = "tenant"  # the tenant's other mail for the site waits, nobody else's
    HOST = "host"  # leave this host, try the next one of the site
    SITE = "site"  # every message for this site waits


class Reason(StrEnum):
    """Why a recipient waits or failed; CLI, API and logs show exactly these words."""

    ACCEPTED = "accepted"  # due, not yet tried
    SCHEDULED = "scheduled"  # its sender asked for a later release (RFC 4865)
    REPLY = "reply"  # the next hop's answer; the reply says it
    DNS_TEMPORARY = "dns-temporary"  # the destination's DNS gave no answer
    DNS_PERMANENT = "dns-permanent"  # the destination does not exist or takes no mail
    LOOP = "loop"  # the destination leads back to us or to a private address
    CONNECTION = "connection"  # no connection, or it broke
    TLS = "tls"  # TLS failed where it was required
    TIMEOUT = "timeout"  # the next hop did not answer in time
    PROTOCOL = "protocol"  # the next hop's answer was not SMTP
    SOURCE = "source"  # the address we send from is not there
    BLOCKED = "blocked"  # the site refuses the address we send from
    CONTENT_BLOCKED = "content-blocked"  # the site refuses what the tenant sends
    CAPACITY = "capacity"  # the site's limit was reached
    SLOWED = "slowed"  # complained of too often: its turn comes later
    INTERRUPTED = "interrupted"  # by us: a stop, a lost lease, other keys
    INTERNAL = "internal"  # an error of ours; logged with its trace
    UNSUPPORTED = "unsupported"  # the next hop lacks an extension the message needs
    SUPPRESSED = "suppressed"  # the tenant's list has the recipient: never tried
    DOMAIN_BROKEN = "domain-broken"  # the customer's DNS records: no aligned way out
    TENANT_SUSPENDED = "tenant-suspended"
    NO_USABLE_KEY = "no-usable-key"
    OPERATOR_HOLD = "operator-hold"
    COMPLAINTS = "complaints"  # far too often complained of: an operator decides
    CORRUPT = "corrupt"  # does not read back as it was accepted; set aside
    LIFETIME = "lifetime"  # retried for the whole retry period


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The next hop answered 2xx after the final dot: responsibility moved on."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Try again later; `reply` is the peer's, or ours where there was none."""

    reply: Reply
    reason: Reason
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Will not succeed: no further attempt."""

    reply: Reply
    reason: Reason
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Waits without a date until the named cause is mended or somebody releases it."""

    reason: Reason
    explanation: str
    gate: str | None = None  # the operator's gate that holds it: "scope subject"


Outcome = Delivered | Deferred | Failed | Held
ORDERED = (Reason.OPERATOR_HOLD, Reason.COMPLAINTS)
"""Gates of these reasons are orders: no state of a domain or tenant opens or closes them."""
