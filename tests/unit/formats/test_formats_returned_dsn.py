"""Delivery status notifications as they come, in good form and in bad."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from soboo_mta.formats.dsn.report import Original, Report, rendered
from soboo_mta.formats.dsn.status import RecipientStatus
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.notify import OriginalRecipient
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import EnhancedStatus, reply
from soboo_mta.mail.returned import Action, Dsn, Reported
from tests.unit.formats.returned_examples import ORIGINAL, TOKEN, dsn, multipart

HEAD = "Reporting-MTA: dns; mx.there.example\nOriginal-Envelope-Id: env-1\n"
FAILED = (
    "Original-Recipient: rfc822;bob@acme-list.example\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1\n"
    "Remote-MTA: dns; inbox.there.example\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <bob@there.example>... User unknown\n"
)
DELAYED = (
    "Final-Recipient: rfc822; eve@there.example\nAction: delayed\nStatus: 4.4.1\n"
    "Will-Retry-Until: Thu, 03 Dec 2026 12:00:00 +0000\n"
)


def read(content: bytes) -> Dsn:
    found = recognised(content, Arrival())
    assert isinstance(found, Dsn)
    assert found.form == "rfc3464"
    return found


def test_each_field_is_read() -> None:
    found = read(dsn(f"{HEAD}\n{FAILED}"))
    assert found.recipients == (
        Reported(
            action=Action.FAILED,
            status=EnhancedStatus(5, 1, 1),
            recipient="bob@there.example",
            original="bob@acme-list.example",
            remote_mta="inbox.there.example",
            diagnostic="550 5.1.1 <bob@there.example>... User unknown",
        ),
    )
    assert (found.envelope_id, found.reporting_mta) == ("env-1", "mx.there.example")
    assert found.sent.message_ids == ("<1@acme.example>",)
    assert found.sent.reverse_paths == (f"{TOKEN}@bounce.acme.example",)
    assert (found.sent.authors, found.sent.subject) == (
        "Acme <news@acme.example>",
        "Hello",
    )


def test_each_recipient_has_its_own_fate() -> None:
    relayed = FAILED.replace("failed", "relayed").replace("5.1.1", "2.0.0")
    expanded = DELAYED.replace("delayed", "expanded").replace("4.4.1", "2.0.0")
    found = read(dsn("\n".join((HEAD, FAILED, DELAYED, relayed, expanded))))
    assert [one.action.value for one in found.recipients] == [
        "failed",
        "delayed",
        "relayed",
        "expanded",
    ]
    assert found.recipients[1].retry_until == datetime(2026, 12, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "fields",
    [
        HEAD + FAILED + DELAYED,  # no empty line at all
        f"\n\n{HEAD}\n\n\n{FAILED}\n \n{DELAYED}\n\n",
        f"{FAILED}\n{DELAYED}\n{HEAD}",  # the message's own come last
        f"{HEAD}\n{FAILED}\n{DELAYED}".upper().replace("RFC822", "rfc822"),
        f"{HEAD}\n{FAILED}\n{DELAYED}".replace(": ", ":\n "),  # each one folded
    ],
    ids=["one block", "more empty lines", "order", "upper case", "folded"],
)
def test_blocks_are_found_whatever_stands_between_them(fields: str) -> None:
    found = read(dsn(fields))
    told = [(one.action.value, one.recipient.lower()) for one in found.recipients]
    assert told == [("failed", "bob@there.example"), ("delayed", "eve@there.example")]
    assert found.reporting_mta.lower() == "mx.there.example"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Final-Recipient: bob@there.example\nAction: failed", ("failed", None)),
        ("Final-Recipient: rfc822;<bob@there.example>\nStatus: 4.2.2 (full)",
         ("delayed", "4.2.2")),
        ("Final-Recipient: RFC822; bob@there.example\nAction: failed (no user)\n"
         "Status: 5.1.1 Unknown", ("failed", "5.1.1")),
        ("Final-Recipient: LOCAL; bob@there.example (Bob)\nAction: Failure\n"
         "Diagnostic-Code: 550 5.7.1 no; never", ("failed", "5.7.1")),
        ("Original-Recipient: rfc822;bob@there.example\nFinal-Recipient:\n"
         "Action: failed", ("failed", None)),
    ],
)  # fmt: skip
def test_a_field_less_or_in_another_form(
    fields: str, expected: tuple[str, str | None]
) -> None:
    (found,) = read(dsn(f"{HEAD}\n{fields}\n")).recipients
    status = found.status and str(found.status)
    assert (found.action.value, status) == expected
    assert "bob@there.example" in (found.recipient, found.original)


def test_a_code_with_a_semicolon_of_its_own_is_kept_whole() -> None:
    (found,) = read(
        dsn(f"{HEAD}\n{FAILED.replace('smtp; 550', '550 a; b')}")
    ).recipients
    assert found.diagnostic.startswith("550 a; b 5.1.1")


def test_an_action_beside_no_recipient_is_about_nobody() -> None:
    found = dsn(
        "Reporting-MTA: dns; mx.there.example\nAction: failed\n\n"
        "Final-Recipient: rfc822; bob@there.example\nAction: delayed\nStatus: 4.7.0\n"
    )
    (one,) = read(found).recipients
    assert (one.recipient, one.action) == ("bob@there.example", Action.DELAYED)


def test_a_neighbour_on_the_boundarys_line_does_no_harm() -> None:
    content = dsn("Final-Recipient: rfc822; bob@there.example\nAction: failed\n")
    line = b'boundary="=b"'
    assert line in content
    (one,) = read(
        content.replace(line, line + b" Message-Id: <1@x.example>")
    ).recipients
    assert one.recipient == "bob@there.example"


def test_the_parts_may_be_encoded_and_of_any_charset() -> None:
    fields = FAILED.replace("User unknown", "Usager inconnu, d=E9sol=E9")
    found = read(
        dsn(
            fields.replace("Content", "X").replace("=E9", "=E9"),
            media="message/delivery-status; charset=iso-8859-1\r\n"
            "Content-Transfer-Encoding: quoted-printable",
        )
    )
    assert found.recipients[0].diagnostic.endswith("Usager inconnu, désolé")
    found = read(dsn(FAILED, media="message/delivery-status; charset=no-such-one"))
    assert found.recipients[0].recipient == "bob@there.example"


def test_an_internationalised_report() -> None:
    fields = (
        "Reporting-MTA: dns; mx.there.example\n\n"
        "Original-Recipient: utf-8; b\\x{F6}b@there.example\n"
        "Final-Recipient: utf-8; böb@there.example\nAction: failed\nStatus: 5.6.7\n"
    )
    (found,) = read(dsn(fields, media="message/global-delivery-status")).recipients
    assert (found.recipient, found.original) == ("böb@there.example",) * 2


def test_fields_in_a_text_part_of_a_report() -> None:
    content = multipart(
        "report; report-type=delivery-status",
        ("Content-Type: text/plain", f"{HEAD}\n{FAILED}".replace("\n", "\r\n")),
    )
    assert read(content).recipients[0].status == EnhancedStatus(5, 1, 1)


def test_a_report_inside_another_message() -> None:
    inner = dsn(f"{HEAD}\n{FAILED}").decode().replace("=b", "=inner")
    content = multipart(
        "mixed",
        ("Content-Type: text/plain", "Forwarded by a helper."),
        ("Content-Type: message/rfc822", inner),
    )
    found = read(content)
    assert found.recipients[0].recipient == "bob@there.example"
    assert "<1@acme.example>" in found.sent.message_ids


def test_no_more_recipients_than_the_bound() -> None:
    found = read(dsn("\n".join([HEAD, *([FAILED] * 600)])))
    assert len(found.recipients) == 500


def test_a_report_of_50_mb_costs_what_its_fields_cost() -> None:
    big = ORIGINAL + "x" * 998 + "\r\n"
    content = dsn(f"{HEAD}\n{FAILED}").replace(
        ORIGINAL.encode(), (big * 48_000).encode()
    )
    assert len(content) > 50_000_000
    assert read(content).recipients[0].status == EnhancedStatus(5, 1, 1)


def test_the_report_that_this_relay_writes_is_read_back() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    status = RecipientStatus(
        recipient=parse_mailbox("bob@there.example"),
        original=OriginalRecipient("rfc822", "bob@list.example"),
        action=Action.FAILED,
        reason=Reason.REPLY,
        reply=reply(550, "5.1.1", "No such user here"),
        remote_mta="mx.there.example",
        last_attempt=at,
    )
    late = replace(status, action=Action.DELAYED, retry_until=at)
    report = Report(
        report_id=MessageId(77),
        reporting_mta=Domain.parse("relay.esp.example"),
        sender=parse_mailbox("MAILER-DAEMON@esp.example"),
        to=parse_mailbox("news@acme.example"),
        made_at=at,
        original=Original(
            content=ORIGINAL.encode(),
            header_message_id="<1@acme.example>",
            envelope_id="env-1",
            returned=None,
            author_domain=Domain.parse("acme.example"),
            arrived_at=at,
        ),
        statuses=[status, late],
        max_returned=10_000,
    )
    found = read(rendered(report))
    assert found.envelope_id == "env-1"
    assert found.sent.message_ids[0] == "<1@acme.example>"
    assert [one.action for one in found.recipients] == [Action.FAILED, Action.DELAYED]
    assert found.recipients[0].diagnostic == "550 5.1.1 No such user here"


def notified(notice: str, fields: str) -> bytes:
    """A report whose notice to people says more than its fields."""
    return multipart(
        "report; report-type=delivery-status",
        ("Content-Type: text/plain", notice.replace("\n", "\r\n")),
        ("Content-Type: message/delivery-status", fields.replace("\n", "\r\n")),
    )


@pytest.mark.parametrize(
    ("notice", "reason"),
    [
        (  # OpenSMTPD
            "    An error has occurred while attempting to deliver a message:\n\n"
            "bob@there.example: 550 5.1.1 No such user\n\n    Below is a copy:\n",
            "550 5.1.1 No such user",
        ),
        (  # Exim
            "The following address(es) failed:\n\n  bob@there.example\n"
            "    host 192.0.2.1 [192.0.2.1]\n    retry timeout exceeded\n",
            "host 192.0.2.1 [192.0.2.1] retry timeout exceeded",
        ),
        (  # Courier
            "Your message cannot be delivered:\n\n<Bob@There.example>:\n"
            "     mx.there.example [192.0.2.1]:\n <<< Connection timed out\n\n---\n",
            "mx.there.example [192.0.2.1]: <<< Connection timed out",
        ),
        ("<bob@there.example>:\n\nIf your message was sent to others ...\n", ""),
        ("<eve@there.example>: no such user\n", ""),
        ("Who is bob@there.example?\n", ""),
    ],
)
def test_without_a_diagnostic_the_notice_beside_the_address_is_it(
    notice: str, reason: str
) -> None:
    fields = f"{HEAD}\nFinal-Recipient: rfc822; bob@there.example\nAction: failed\n"
    (bob,) = read(notified(notice, f"{fields}Status: 5.0.0\n")).recipients
    assert bob.diagnostic == reason


def test_a_diagnostic_is_believed_before_the_notice() -> None:
    (bob,) = read(notified("bob@there.example: it failed\n", FAILED)).recipients
    assert bob.diagnostic == "550 5.1.1 <bob@there.example>... User unknown"


@pytest.mark.parametrize(
    ("reason", "status", "more", "action"),
    [
        ("Envelope expired", "4.4.7", "", Action.FAILED),  # OpenSMTPD, at the end
        ("Envelope expired", "4.0.0", "", Action.DELAYED),
        ("It is late", "4.4.7", "", Action.DELAYED),  # Exchange, in between
        (
            "Half of its time has expired",
            "4.4.7",
            "Will-Retry-Until: Thu, 03 Dec 2026 12:00:00 +0000\n",
            Action.DELAYED,
        ),
    ],
)
def test_delayed_until_it_expired_is_failed(
    reason: str, status: str, more: str, action: Action
) -> None:
    fields = f"Final-Recipient: rfc822; bob@there.example\nStatus: {status}\n{more}"
    notice = f"bob@there.example: {reason}\n"
    (bob,) = read(notified(notice, f"{HEAD}\n{fields}Action: delayed\n")).recipients
    assert bob.action is action
