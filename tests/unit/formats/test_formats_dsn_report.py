"""A report as others read it: by Python's email package, by flufl.bounce, and as text."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message

import pytest
from flufl.bounce import scan_message
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.dsn.report import Original, Report, rendered
from soboo_mta.formats.dsn.status import RecipientStatus
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.notify import OriginalRecipient, Returned
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.mail.returned import Action

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTENT = (
    b"From: Ann <ann@acme.example>\r\nTo: bob@there.example\r\nSubject: Hello\r\n"
    b"Message-ID: <1@acme.example>\r\n\r\nThe body.\r\n--=_00000000000g5\r\n"
)


def a_status(
    recipient: str = "bob@there.example", **changed: object
) -> RecipientStatus:
    plain = RecipientStatus(
        recipient=parse_mailbox(recipient),
        original=None,
        action=Action.FAILED,
        reason=Reason.REPLY,
        reply=reply(550, "5.1.1", "No such user here"),
        remote_mta="mx.there.example",
        last_attempt=AT,
        retry_until=AT + timedelta(days=5),
    )
    return replace(plain, **changed)


def a_report(
    *statuses: RecipientStatus,
    content: bytes = CONTENT,
    returned: Returned | None = None,
    envelope_id: str = "",
    max_returned: int = 10_000,
) -> Report:
    return Report(
        report_id=MessageId(517),
        reporting_mta=Domain("mta1.esp.example"),
        sender=parse_mailbox("MAILER-DAEMON@esp.example"),
        to=parse_mailbox("ann@acme.example"),
        made_at=AT,
        original=Original(
            content=content,
            header_message_id="<1@acme.example>",
            envelope_id=envelope_id,
            returned=returned,
            author_domain=Domain("acme.example"),
            arrived_at=AT - timedelta(hours=1),
        ),
        statuses=statuses or (a_status(),),
        max_returned=max_returned,
    )


def parsed(octets: bytes) -> tuple[EmailMessage, list[Message]]:
    """The report, and its three parts; its lines are whole and bounded."""
    HeaderBlock.parse(octets)
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert b"\n" not in octets.replace(b"\r\n", b"")
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message.defects == []
    parts = message.get_payload()
    assert len(parts) == 3
    return message, parts


def fields(part: Message) -> list[Message]:
    """The blocks of a delivery-status part: the message's, then each recipient's."""
    assert part.get_content_type() == "message/delivery-status"
    return part.get_payload()


def test_case_159_a_report_of_failure_has_every_field_a_program_asks_for() -> None:
    status = a_status(original=OriginalRecipient("rfc822", "Bob+x@There.example"))
    message, parts = parsed(rendered(a_report(status, envelope_id="Order=17 b")))
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@esp.example>"
    assert message["To"] == "ann@acme.example"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<1@acme.example>"
    assert message["Message-ID"].endswith("@esp.example>")
    about, bob = fields(parts[1])
    assert dict(about.items()) == {
        "Original-Envelope-Id": "Order=17 b",
        "Reporting-MTA": "dns; mta1.esp.example",
        "Arrival-Date": "Thu, 01 Jan 2026 11:00:00 +0000",
    }
    assert dict(bob.items()) == {
        "Original-Recipient": "rfc822; Bob+x@There.example",
        "Final-Recipient": "rfc822; bob@there.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.there.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": "Thu, 01 Jan 2026 12:00:00 +0000",
    }


def test_case_159_independent_readers_find_whom_it_is_about() -> None:
    octets = rendered(
        a_report(a_status(), a_status("carol@there.example"), returned=Returned.FULL)
    )
    found = scan_message(email.message_from_bytes(octets))
    assert found == {b"bob@there.example", b"carol@there.example"}


def test_case_159_what_was_relayed_or_is_late_is_no_bounce_to_a_reader() -> None:
    late = a_status(action=Action.DELAYED, reply=reply(451, "4.7.1", "later"))
    relayed = a_status(action=Action.RELAYED, reply=reply(250, "2.0.0", "ok"))
    for status in (late, relayed):
        octets = rendered(a_report(status))
        assert scan_message(email.message_from_bytes(octets)) == set()


def test_case_161_a_delay_says_until_when_it_is_tried() -> None:
    late = a_status(action=Action.DELAYED, reply=reply(451, "4.7.1", "later"))
    message, parts = parsed(rendered(a_report(late)))
    assert message["Subject"] == "Your message is delayed"
    _, bob = fields(parts[1])
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.7.1")
    assert bob["Will-Retry-Until"] == "Tue, 06 Jan 2026 12:00:00 +0000"
    assert "You need not do anything" in " ".join(parts[0].get_payload().split())


def test_what_was_passed_on_without_a_reporting_host_is_relayed() -> None:
    relayed = a_status(action=Action.RELAYED, reply=Reply(250, None, "queued"))
    message, parts = parsed(rendered(a_report(relayed, returned=Returned.FULL)))
    assert message["Subject"] == "Your message was passed on"
    _, bob = fields(parts[1])
    assert (bob["Action"], bob["Status"]) == ("relayed", "2.0.0")
    assert parts[2].get_content_type() == "text/rfc822-headers"  # RFC 3461 §4.3


@pytest.mark.parametrize(
    ("returned", "limit", "kind"),
    [
        (None, 10_000, "text/rfc822-headers"),
        (Returned.HEADERS, 10_000, "text/rfc822-headers"),
        (Returned.FULL, 10_000, "message/rfc822"),
        (Returned.FULL, len(CONTENT) - 1, "text/rfc822-headers"),
    ],
)
def test_case_159_the_message_comes_back_as_asked_and_within_the_cap(
    returned: Returned | None, limit: int, kind: str
) -> None:
    report = a_report(returned=returned, max_returned=limit)
    octets = rendered(report)
    _, parts = parsed(octets)
    assert parts[2].get_content_type() == kind
    assert (b"The body." in octets) is (kind == "message/rfc822")
    assert b"Subject: Hello\r\n" in octets


def test_a_header_over_the_cap_is_cut_between_fields() -> None:
    limit = CONTENT.index(b"Subject:") + 3
    _, parts = parsed(rendered(a_report(max_returned=limit)))
    assert parts[2].get_payload().count("\r\n") == 2
    assert "Subject" not in parts[2].get_payload()


def test_content_with_the_boundary_inside_stays_one_part() -> None:
    assert b"--=_00000000000g5" in CONTENT  # what the boundary would have been
    _, parts = parsed(rendered(a_report(returned=Returned.FULL)))
    assert parts[2].get_payload(0).get_payload().startswith("The body.")


HOSTILE = [
    "550 no\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; x@y.example",
    "550 \x1b[2J\x1b]0;owned\x07 \u202egnp.exe <script>alert(1)</script>",
    "550 " + "ginormous " * 10_000,
    "550 " + "x" * 100_000,
    "550 \u2028Bcc: x@y.example\x85To: z@y.example\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_case_160_a_hostile_reply_is_one_cut_printable_field(text: str) -> None:
    status = a_status(reply=Reply(550, None, text))
    octets = rendered(a_report(status))
    _, parts = parsed(octets)
    _, bob = fields(parts[1])  # no further block
    assert bob["Action"] == "failed"
    assert len(bob["Diagnostic-Code"]) <= 420
    assert len(octets) < 4_000
    human = octets.split(b"Delivery report")[0].decode()
    assert not set(human) & set("\x00\x07\x1b\x85\u2028\u202e")


@given(st.text(max_size=300), st.text(max_size=60))
def test_case_160_no_text_of_a_peer_starts_a_field_or_a_line(
    text: str, host: str
) -> None:
    status = a_status(reply=Reply(550, None, text), remote_mta=host)
    _, parts = parsed(rendered(a_report(status)))
    assert len(fields(parts[1])) == 2
    _, bob = fields(parts[1])
    known = {"Final-Recipient", "Action", "Status", "Diagnostic-Code"}
    assert known <= set(bob.keys()) <= known | {"Remote-MTA", "Last-Attempt-Date"}


def test_case_159_utf8_addresses_have_fields_of_their_own_kind() -> None:
    content = "From: ann@acme.example\r\nSubject: Grüße\r\n\r\nHi\r\n".encode()
    status = a_status(
        "jörg@there.example", original=OriginalRecipient("utf-8", "jörg@dört.example")
    )
    octets = rendered(a_report(status, content=content, returned=Returned.FULL))
    assert b"Content-Type: message/global-delivery-status\r\n" in octets
    assert "Final-Recipient: utf-8; jörg@there.example\r\n".encode() in octets
    assert "Original-Recipient: utf-8; jörg@dört.example\r\n".encode() in octets
    assert b"Content-Type: message/global\r\n" in octets
    assert octets.count(b"Content-Transfer-Encoding: 8bit\r\n") == 3


def test_case_159_a_broken_domain_is_told_which_record_to_mend() -> None:
    why = (
        "no usable DKIM key for acme.example; mend sb1._domainkey.acme.example CNAME x."
    )
    status = a_status(
        reason=Reason.DOMAIN_BROKEN,
        reply=reply(451, "4.7.5", why),
        remote_mta="",
        is_expired=True,
    )
    _, parts = parsed(rendered(a_report(status)))
    words = " ".join(str(parts[0].get_payload()).split())
    assert "the DNS records of acme.example" in words
    assert "mend sb1._domainkey.acme.example CNAME x." in words
    _, bob = fields(parts[1])
    assert bob["Status"] == "4.4.7"
    assert bob["Diagnostic-Code"] == f"x-soboo; 451 4.7.5 {why}"
    assert bob["Remote-MTA"] is None
