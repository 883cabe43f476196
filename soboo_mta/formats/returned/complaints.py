"""Feedback reports (RFC 5965) and reports on failed authentication (RFC 6591, RFC 9991)."""

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.formats.returned.parts import (
    Fields,
    Part,
    Parts,
    every_field_in,
    fields_in,
)
from soboo_mta.formats.returned.sent import sent_in
from soboo_mta.mail.returned import Complaint, FailureReport

_MAX_INCIDENTS = 1_000_000
_MAX_RECIPIENTS = 100


def feedback(parts: Parts) -> Complaint | FailureReport | None:
    """Return the report that a feedback-report part holds; None without one."""
    part = next(
        (one for one in parts.own if one.media == "message/feedback-report"), None
    )
    if part is None:
        return None
    text = part.text().replace("\n\n", "\n")  # some put an empty line between fields
    fields = fields_in(text)
    feedback_type = fields.get("feedback-type", "").lower()
    if not feedback_type:
        return None
    if feedback_type == "auth-failure":
        return _failure(fields, parts, part)
    return Complaint(
        feedback_type=one_line(feedback_type, 60),
        user_agent=fields.get("user-agent", ""),
        source_ip=fields.get("source-ip", ""),
        reported_domains=_every(text, "reported-domain"),
        recipients=_every(text, "original-rcpt-to"),
        incidents=_incidents(fields.get("incidents", "")),
        sent=sent_in(parts, within=part),
    )


def _failure(fields: Fields, parts: Parts, part: Part) -> FailureReport:
    return FailureReport(
        failure=one_line(fields.get("auth-failure", "").lower(), 60),
        delivery_result=fields.get("delivery-result", ""),
        alignment=fields.get("identity-alignment", ""),
        dkim_domain=fields.get("dkim-domain", ""),
        dkim_selector=fields.get("dkim-selector", ""),
        source_ip=fields.get("source-ip", ""),
        reported_domains=_every(part.text(), "reported-domain"),
        sent=sent_in(parts, within=part),
    )


def _every(text: str, name: str) -> tuple[str, ...]:
    """A field that may stand several times (RFC 5965 §3.2)."""
    found = [
        value.strip("<>") for at, value in every_field_in(text) if at == name and value
    ]
    return tuple(dict.fromkeys(found))[:_MAX_RECIPIENTS]


def _incidents(text: str) -> int:
    digits = text.strip()[:7]
    return (
        min(int(digits), _MAX_INCIDENTS) if digits.isascii() and digits.isdigit() else 1
    )
