"""What comes back for a message, recognised: one frozen value for each kind of return.

All text in them is a stranger's: bounded and printable (`one_line`), and proof of nothing.
Which message a return belongs to is said by the signed reverse-path that it came to; what a
return shows of the message (`Sent`) serves where it came to another address.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from soboo_mta.mail.reply import EnhancedStatus


class Kind(StrEnum):
    """What a return is; CLI, events and logs show exactly these words."""

    DSN = "dsn"  # a delivery status notification, of RFC 3464's form or another
    AUTO_REPLY = "auto-reply"  # out of office and its kin (RFC 3834)
    CHALLENGE = "challenge"  # wants the sender to prove something first
    COMPLAINT = "complaint"  # a feedback report (RFC 5965)
    FAILURE_REPORT = "failure-report"  # one message failed authentication (RFC 6591)
    DMARC_REPORT = "dmarc-report"  # aggregate (RFC 9990 and its older form)
    TLS_REPORT = "tls-report"  # RFC 8460
    UNSUBSCRIBE = "unsubscribe"  # by mailto (RFC 2369, RFC 8058)
    REPLY = "reply"  # somebody wrote it
    UNRECOGNISED = "unrecognised"  # kept, and shown


class Action(StrEnum):
    """What became of a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a return shows of the message that it is about."""

    message_ids: tuple[str, ...] = ()  # with angle brackets, the likeliest first
    reverse_paths: tuple[str, ...] = ()  # all of our form that stand in it; unproven
    feedback_id: str = ""  # CFBL-Feedback-ID (RFC 9477)
    authors: str = ""  # the From field
    subject: str = ""


NOTHING_SENT = Sent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One recipient of a DSN. `recipient` and `original` are as they were written, without
    their type; "" where nothing is said."""

    action: Action
    status: EnhancedStatus | None = None
    recipient: str = ""
    original: str = ""
    remote_mta: str = ""
    diagnostic: str = ""  # without its type
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """A delivery status notification; `form` names how it was read: "rfc3464", or the
    rule that knew it. `text` is what it says to people, without the message that came
    back: up to 2,000 characters."""

    kind: ClassVar[Kind] = Kind.DSN
    form: str
    recipients: tuple[Reported, ...]  # at least one
    text: str = ""
    envelope_id: str = ""
    reporting_mta: str = ""
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoReply:
    """An answer that a program gave; `sign` is what told it from a person's."""

    kind: ClassVar[Kind] = Kind.AUTO_REPLY
    sign: str
    author: str
    subject: str
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The recipient's system delivers once its challenge was answered: nobody does."""

    kind: ClassVar[Kind] = Kind.CHALLENGE
    sign: str
    author: str
    subject: str
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A feedback report (RFC 5965); "" and () where the report is silent or redacted."""

    kind: ClassVar[Kind] = Kind.COMPLAINT
    feedback_type: str  # "abuse", "fraud", "not-spam" ...
    user_agent: str = ""
    source_ip: str = ""
    reported_domains: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()  # Original-Rcpt-To
    incidents: int = 1
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """One message that failed authentication somewhere (RFC 6591, RFC 9991)."""

    kind: ClassVar[Kind] = Kind.FAILURE_REPORT
    failure: str  # Auth-Failure: "dkim", "spf", "dmarc" ...
    delivery_result: str = ""
    alignment: str = ""  # Identity-Alignment
    dkim_domain: str = ""
    dkim_selector: str = ""
    source_ip: str = ""
    reported_domains: tuple[str, ...] = ()
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimResult:
    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcRow:
    """`count` messages from one address with one result."""

    source_ip: str
    count: int
    disposition: str  # "none", "quarantine", "reject", "pass" (RFC 9990)
    dkim: str  # DMARC's verdict: "pass" or "fail"
    spf: str
    header_from: str
    envelope_from: str = ""
    reasons: tuple[str, ...] = ()  # why the disposition is not the policy's
    dkim_results: tuple[DkimResult, ...] = ()
    spf_domain: str = ""
    spf_result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcReport:
    """An aggregate report on one domain, for the time from `begin` to `end`."""

    kind: ClassVar[Kind] = Kind.DMARC_REPORT
    reporter: str
    report_id: str
    domain: str
    begin: datetime
    end: datetime
    policy: str = ""  # p
    subdomain_policy: str = ""  # sp
    rows: tuple[DmarcRow, ...] = ()
    left_out: int = 0  # rows over the bound, or broken ones


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFailure:
    result: str  # "certificate-expired" ... (RFC 8460 §4.3)
    sessions: int
    sending_ip: str = ""
    receiving_mx: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """Sessions with one domain under one policy: "tlsa", "sts" or "no-policy-found"."""

    policy: str
    domain: str
    succeeded: int
    failed: int
    failures: tuple[TlsFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReport:
    kind: ClassVar[Kind] = Kind.TLS_REPORT
    reporter: str
    report_id: str
    begin: datetime
    end: datetime
    policies: tuple[TlsPolicy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """The recipient's program wrote to the address of List-Unsubscribe."""

    kind: ClassVar[Kind] = Kind.UNSUBSCRIBE
    author: str
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanReply:
    """What looks like a person's answer: for the customer to read."""

    kind: ClassVar[Kind] = Kind.REPLY
    author: str
    subject: str
    sent: Sent = NOTHING_SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognised:
    """Kept as it came; `why` says what was tried, or what ended its reader."""

    kind: ClassVar[Kind] = Kind.UNRECOGNISED
    why: str
    sent: Sent = NOTHING_SENT


Return = (
    Dsn
    | AutoReply
    | Challenge
    | Complaint
    | FailureReport
    | DmarcReport
    | TlsReport
    | Unsubscribe
    | HumanReply
    | Unrecognised
)
