"""TLS reports in the form of RFC 8460 §4.4, and what is proved of who sent them."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SignatureVerdict,
    SpfVerdict,
)
from soboo_mta.mail.domain import Domain

HOST = "bounce.customer.com"
EXPIRED = {
    "result-type": "certificate-expired",
    "sending-mta-ip": "198.51.100.62",
    "receiving-mx-hostname": "mx.esp.example",
    "failed-session-count": 3,
    "failure-reason-code": "expired yesterday",
}


def policy(
    host: str = HOST,
    *failures: dict[str, Any],
    succeeded: int = 5326,
    kind: str = "sts",
) -> dict[str, Any]:
    """One element of `policies`."""
    return {
        "policy": {"policy-type": kind, "policy-domain": host, "mx-host": ["mx"]},
        "summary": {
            "total-successful-session-count": succeeded,
            "total-failure-session-count": sum(
                one["failed-session-count"] for one in failures
            ),
        },
        "failure-details": list(failures),
    }


def tls_report(
    *policies: dict[str, Any], ends_at: int, report_id: str = "day-1", **changed: Any
) -> dict[str, Any]:
    """A report on the day before `ends_at` (unix ms)."""
    end = datetime.fromtimestamp(ends_at // 1_000, UTC)
    return {
        "organization-name": "There Ltd",
        "date-range": {
            "start-datetime": _time(end - timedelta(days=1)),
            "end-datetime": _time(end),
        },
        "contact-info": "tls@there.example",
        "report-id": report_id,
        "policies": list(policies),
        **changed,
    }


def octets(report: dict[str, Any], *, packed: bool = False) -> bytes:
    text = json.dumps(report).encode()
    return gzip.compress(text) if packed else text


def mailed(report: dict[str, Any], *, packed: bool = True) -> bytes:
    """As RFC 8460 §5.3 has it."""
    message = MIMEMultipart("report")
    message.set_param("report-type", "tlsrpt")
    message["From"] = "TLS reports <tls@there.example>"
    message["To"] = "tls@esp.example"
    message["Subject"] = "Report Domain: customer.com Submitter: there.example"
    message["TLS-Report-Domain"] = HOST
    message["TLS-Report-Submitter"] = "there.example"
    message.attach(MIMEText("A report on TLS."))
    kind = "tlsrpt+gzip" if packed else "tlsrpt+json"
    message.attach(MIMEApplication(octets(report, packed=packed), kind))
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def proof(
    *signers: str, author: str = "there.example", result: Result = Result.PASS
) -> Authentication:
    """What is found of a mail with these signatures."""
    return Authentication(
        spf=SpfVerdict(
            result=Result.PASS, identity=Identity.MAILFROM, domain=Domain(author)
        ),
        dkim=tuple(
            SignatureVerdict(result=result, domain=Domain(one)) for one in signers
        ),
        dmarc=DmarcVerdict(result=Result.NONE, author=Domain(author)),
    )


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
