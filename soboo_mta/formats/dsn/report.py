"""A delivery status notification, from values to octets (RFC 3461 §6, RFC 3464, RFC 6533).

Pure. Three parts under multipart/report (RFC 6522 §3): words for people, fields for
programs, and what comes back of the message. What a peer said is cut and made printable
here once more, so that no reply ends up as a field or a line of its own. Never decides
whether a report is due.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from soboo_mta.formats.dsn.parameters import UTF8_KIND, to_ascii_address
from soboo_mta.formats.dsn.status import RecipientStatus, one_line
from soboo_mta.formats.dsn.words import explained, subject
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.notify import OriginalRecipient, Returned
from soboo_mta.mail.returned import Action

SENDER = "MAILER-DAEMON"  # the local part that reports come from
_MAX_DIAGNOSTIC = 400  # characters; a line has 998 octets (RFC 5322 §2.1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message that is reported on. `content` is CRLF-lined, header and body."""

    content: bytes
    header_message_id: str  # with its angle brackets
    envelope_id: str  # "" where none was given
    returned: Returned | None  # what its sender asked to have back
    author_domain: Domain
    arrived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report on one message, about one recipient or several."""

    report_id: MessageId
    reporting_mta: Domain
    sender: Mailbox
    to: Mailbox
    made_at: datetime
    original: Original
    statuses: Sequence[RecipientStatus]  # at least one
    max_returned: int  # octets of the message that come back
    third_part: bytes = b""  # with its header, in place of what comes back
    fields: Sequence[str] = ()  # further ones, ASCII

    @property
    def header_message_id(self) -> str:
        return f"<{self.report_id}@{self.sender.domain}>"


def rendered(report: Report) -> bytes:
    """Return the whole message, ready to be signed and sent with a null reverse-path."""
    third = report.third_part or _what_returns(report)
    parts = [_for_people(report), _for_programs(report), third]
    boundary = f"=_{report.report_id}"
    while any(f"--{boundary}".encode() in part for part in parts):
        boundary += "="  # the message that comes back may hold anything
    opening = f"--{boundary}\r\n".encode()
    body = b"".join(opening + part + b"\r\n" for part in parts)
    return _header(report, boundary) + body + f"--{boundary}--\r\n".encode()


def _header(report: Report, boundary: str) -> bytes:
    said = report.original.header_message_id
    fields = (
        f"Date: {format_datetime(report.made_at)}",
        f"From: Mail Delivery System <{report.sender}>",
        f"To: <{report.to}>",
        f"Subject: {subject(report.statuses)}",
        f"Message-ID: {report.header_message_id}",
        *([f"In-Reply-To: {said}", f"References: {said}"] if said.isascii() else ()),
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        *report.fields,
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    )
    return "".join(f"{field}\r\n" for field in (*fields, "")).encode()


def _part(kind: str, text: bytes, description: str) -> bytes:
    encoding = "7bit" if text.isascii() else "8bit"
    head = (
        f"Content-Type: {kind}\r\nContent-Description: {description}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + text


def _for_people(report: Report) -> bytes:
    text = explained(
        report.statuses,
        reporting_mta=report.reporting_mta,
        header_message_id=report.original.header_message_id,
        author_domain=report.original.author_domain,
        arrived_at=report.original.arrived_at,
    ).encode()
    charset = "us-ascii" if text.isascii() else "utf-8"
    return _part(f"text/plain; charset={charset}", text, "Notification")


# ---- for programs


def _for_programs(report: Report) -> bytes:
    # RFC 6533 §4: UTF-8 in fields has a type of its own; all else stays as of old.
    is_global = any(_is_global(one) for one in report.statuses)
    blocks = [_message_fields(report)]
    blocks += [_recipient_fields(one, is_global=is_global) for one in report.statuses]
    text = "\r\n".join("".join(f"{field}\r\n" for field in one) for one in blocks)
    kind = "global-delivery-status" if is_global else "delivery-status"
    return _part(f"message/{kind}", text.encode(), "Delivery report")


def _is_global(status: RecipientStatus) -> bool:
    original = status.original
    is_ascii = original is None or original.address.isascii()
    return not (status.recipient.is_ascii and is_ascii)


def _message_fields(report: Report) -> Iterator[str]:
    """RFC 3464 §2.2."""
    if report.original.envelope_id:
        yield f"Original-Envelope-Id: {report.original.envelope_id}"
    yield f"Reporting-MTA: dns; {report.reporting_mta}"
    yield f"Arrival-Date: {format_datetime(report.original.arrived_at)}"


def _recipient_fields(status: RecipientStatus, *, is_global: bool) -> Iterator[str]:
    """RFC 3464 §2.3, in its order."""
    if status.original is not None:
        yield f"Original-Recipient: {_typed(status.original, is_global=is_global)}"
    kind = "rfc822" if status.recipient.is_ascii else UTF8_KIND
    final = OriginalRecipient(kind, str(status.recipient))
    yield f"Final-Recipient: {_typed(final, is_global=is_global)}"
    yield f"Action: {status.action}"
    yield f"Status: {status.status}"
    if status.remote_mta:
        yield f"Remote-MTA: dns; {one_line(status.remote_mta, 255, ascii_only=True)}"
    yield f"Diagnostic-Code: {_diagnostic(status, is_global=is_global)}"
    yield f"Last-Attempt-Date: {format_datetime(status.last_attempt)}"
    if status.action is Action.DELAYED and status.retry_until is not None:
        yield f"Will-Retry-Until: {format_datetime(status.retry_until)}"


def _typed(address: OriginalRecipient, *, is_global: bool) -> str:
    if address.kind == UTF8_KIND and not is_global:
        return f"{UTF8_KIND}; {to_ascii_address(address.address)}"
    return f"{address.kind}; {address.address}"


def _diagnostic(status: RecipientStatus, *, is_global: bool) -> str:
    """What the peer said; a cause of our own has a type of its own (RFC 3464 §2.3.6)."""
    kind = "smtp" if status.remote_mta else "x-soboo"
    text = one_line(str(status.reply), _MAX_DIAGNOSTIC, ascii_only=not is_global)
    return f"{kind}; {text}"


# ---- what comes back


def _what_returns(report: Report) -> bytes:
    """The whole message where it was asked for, failed and is small; else its header
    (RFC 3461 §4.3)."""
    original = report.original
    has_failed = any(one.action is Action.FAILED for one in report.statuses)
    is_whole = (
        has_failed
        and original.returned is Returned.FULL
        and len(original.content) <= report.max_returned
    )
    header = HeaderBlock.parse(original.content)
    if is_whole:
        is_plain = original.content[: header.body_start].isascii()
        kind = "message/rfc822" if is_plain else "message/global"
        return _part(kind, original.content, "Undelivered message")
    text = _bounded(header, report.max_returned)
    kind = "text/rfc822-headers" if text.isascii() else "message/global-headers"
    return _part(kind, text, "Header of the message")


def _bounded(header: HeaderBlock, limit: int) -> bytes:
    """As many whole fields from the top as `limit` octets hold."""
    end = 0
    for field in header.fields:
        if field.end > limit:
            break
        end = field.end
    return header.content[:end]
