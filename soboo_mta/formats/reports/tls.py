"""Reports on SMTP over TLS (RFC 8460 §4.4): JSON, by mail or by HTTPS."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import TlsFailure, TlsPolicy, TlsReport

_MAX_POLICIES = 200
_MAX_FAILURES = 1_000
_MAX_SESSIONS = 1_000_000_000_000
_MAX_COMMAS = 1_000_000  # values take memory and time, whatever becomes of them


def read_tls_report(octets: bytes) -> TlsReport:
    """Return what the JSON says; raise FormatError where it is no such report."""
    if octets.count(b",") > _MAX_COMMAS:
        raise FormatError(f"the TLS report has over {_MAX_COMMAS} values")
    try:
        said = json.loads(octets.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the TLS report is no JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("policies"), list):
        raise FormatError("the JSON is no TLS report: it has no policies")
    times = said.get("date-range")
    if not isinstance(times, dict):
        raise FormatError("the TLS report has no date-range")
    return TlsReport(
        reporter=_text(said, "organization-name") or _text(said, "contact-info"),
        report_id=_text(said, "report-id"),
        begin=_time(times, "start-datetime"),
        end=_time(times, "end-datetime"),
        policies=tuple(
            _policy(one) for one in said["policies"][:_MAX_POLICIES] if _is_object(one)
        ),
    )


def _policy(said: Mapping[str, object]) -> TlsPolicy:
    policy, summary = said.get("policy"), said.get("summary")
    about = policy if isinstance(policy, dict) else {}
    sums = summary if isinstance(summary, dict) else {}
    failures = said.get("failure-details")
    listed = failures[:_MAX_FAILURES] if isinstance(failures, list) else []
    return TlsPolicy(
        policy=_text(about, "policy-type"),
        domain=_text(about, "policy-domain").lower(),
        succeeded=_count(sums, "total-successful-session-count"),
        failed=_count(sums, "total-failure-session-count"),
        failures=tuple(_failure(one) for one in listed if _is_object(one)),
    )


def _failure(said: Mapping[str, object]) -> TlsFailure:
    return TlsFailure(
        result=_text(said, "result-type"),
        sessions=_count(said, "failed-session-count"),
        sending_ip=_text(said, "sending-mta-ip"),
        receiving_mx=_text(said, "receiving-mx-hostname"),
        reason=_text(said, "failure-reason-code"),
    )


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _text(said: Mapping[str, object], name: str) -> str:
    value = said.get(name)
    return one_line(value, 400) if isinstance(value, str) else ""


def _count(said: Mapping[str, object], name: str) -> int:
    value = said.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:13])
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return max(0, min(value, _MAX_SESSIONS))


def _time(said: Mapping[str, object], name: str) -> datetime:
    try:
        found = datetime.fromisoformat(_text(said, name).replace("Z", "+00:00"))
    except ValueError as error:
        raise FormatError(f"the TLS report's {name} is no time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
