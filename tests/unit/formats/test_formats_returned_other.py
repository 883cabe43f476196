"""Bounces of other forms, answers, challenges, complaints, wishes, and what nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.returned import (
    Action,
    AutoReply,
    Challenge,
    Complaint,
    Dsn,
    FailureReport,
    HumanReply,
    Return,
    Unrecognised,
    Unsubscribe,
)
from tests.unit.formats.returned_examples import ORIGINAL, TOKEN, dsn, mail, multipart

DAEMON = {"From": "Mail Delivery System <Mailer-Daemon@there.example>"}


def read(content: bytes, *, is_from_null: bool = True) -> Return:
    return recognised(content, Arrival(is_from_null=is_from_null))


def bounced(content: bytes) -> Dsn:
    found = read(content)
    assert isinstance(found, Dsn), found
    return found


# ---- bounces of other forms


def test_exim_without_a_report() -> None:
    body = (
        "A message that you sent could not be delivered to all of its recipients.\r\n"
        "The following address(es) failed:\r\n\r\n  bob@there.example\r\n"
        "    host mx.there.example [192.0.2.1]\r\n"
        "    SMTP error from remote mail server after RCPT TO:<bob@there.example>:\r\n"
        f"    550 5.1.1 no such user\r\n\r\n--- copy follows ---\r\n\r\n{ORIGINAL}"
    )
    found = bounced(mail(body, X_Failed_Recipients="bob@there.example", **DAEMON))
    (one,) = found.recipients
    assert (found.form, one.recipient, str(one.status)) == (
        "exim",
        "bob@there.example",
        "5.1.1",
    )
    assert "<1@acme.example>" in found.sent.message_ids
    assert found.sent.reverse_paths == (f"{TOKEN}@bounce.acme.example",)


def test_qmail_names_each_with_its_reason() -> None:
    body = (
        "Hi. This is the qmail-send program at there.example.\r\n"
        "I'm afraid I wasn't able to deliver your message to these addresses.\r\n\r\n"
        "<bob@there.example>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
        "<eve@there.example>:\r\nUser over quota. (#5.2.2)\r\n\r\n"
        f"--- Below this line is a copy of the message.\r\n\r\n{ORIGINAL}"
    )
    found = bounced(mail(body, Subject="failure notice", **DAEMON))
    told = [(one.recipient, str(one.status)) for one in found.recipients]
    assert told == [("bob@there.example", "5.1.1"), ("eve@there.example", "5.2.2")]


def test_flufl_bounce_knows_what_our_rules_do_not() -> None:
    body = (
        "This is an automatically generated Delivery Status Notification.\r\n\r\n"
        "Delivery to the following recipients failed.\r\n\r\n"
        "       bob@there.example\r\n\r\n\r\n\r\n"
    )
    found = bounced(mail(body, Subject="Delivery Status Notification", **DAEMON))
    assert found.form == "flufl.bounce"
    assert found.recipients[0].recipient == "bob@there.example"


@pytest.mark.parametrize(
    ("body", "action", "recipient"),
    [
        ("We are sorry to inform you that the mailbox bob@there.example is disabled.",
         Action.FAILED, "bob@there.example"),
        ("Our host said: 552 5.2.2 mailbox of the recipient is full",
         Action.FAILED, ""),
        ("Ihre Nachricht an bob@there.example konnte nicht zugestellt werden: "
         "550 unbekannt", Action.FAILED, "bob@there.example"),
        ("You wrote to bob@there.example, who is not a valid user of ours.",
         Action.FAILED, "bob@there.example"),
        ("The server there is down: connection refused. Delivery will be retried for "
         "three more days.", Action.DELAYED, ""),
    ],
)  # fmt: skip
def test_a_daemons_words(body: str, action: Action, recipient: str) -> None:
    found = bounced(mail(body, Subject="Delivery problem", **DAEMON))
    (one,) = found.recipients
    assert (found.form, one.action, one.recipient) == ("words", action, recipient)
    assert one.diagnostic


@pytest.mark.parametrize(
    ("body", "diagnostic"),
    [
        ("The mailbox is full: <bob@there.example>\nUnable to deliver mail.",
         "The mailbox is full"),
        ("could not be delivered to\n<bob@there.example>: Name service error: Host\n"
         "    not found, try again", "Name service error: Host not found, try again"),
        ("did not reach\nbob@there.example on Friday\n   The name is not recognized",
         "on Friday The name is not recognized"),
    ],
)  # fmt: skip
def test_the_reason_stands_on_the_line_or_behind_it(body: str, diagnostic: str) -> None:
    content = mail(body, X_Failed_Recipients="bob@there.example", **DAEMON)
    (one,) = bounced(content).recipients
    assert (one.recipient, one.diagnostic) == ("bob@there.example", diagnostic)


def test_a_notice_with_the_message_needs_no_daemons_name() -> None:
    words = "Your mail could not be delivered: the user is unknown."
    head = {"From": "robot@there.example", "Subject": "Mail error"}
    original = ("Content-Type: message/rfc822", ORIGINAL)
    notice = multipart("mixed", ("Content-Type: text/plain", words), original, **head)
    found = read(notice, is_from_null=False)
    assert isinstance(found, Dsn)
    assert found.recipients[0].action is Action.FAILED
    alone = multipart("mixed", ("Content-Type: text/plain", words), **head)
    assert not isinstance(read(alone, is_from_null=False), Dsn)


def test_a_report_that_lost_what_it_says_is_one_all_the_same() -> None:
    lost = mail(
        "<no body>",
        Content_Type="multipart/report; report-type=delivery-status; boundary=b",
        Subject="Returned mail: see transcript for details",
        Auto_Submitted="auto-generated (failure)",
        **DAEMON,
    )
    (one,) = bounced(lost).recipients
    assert (one.action, one.recipient, one.diagnostic) == (Action.FAILED, "", "")


def test_a_page_is_read_without_its_tags() -> None:
    page = (
        "<html><style>p {}</style><script>550 5.9.9 no</script><p>Delivery failed:"
        "<br>550&nbsp;5.1.1 &lt;bob@there.example&gt; unknown user</p></html>"
    )
    content = mail(
        page, Content_Type="text/html", Subject="Undeliverable: Hello", **DAEMON
    )
    (one,) = bounced(content).recipients
    assert (one.recipient, str(one.status)) == ("bob@there.example", "5.1.1")


def test_an_address_or_a_version_is_no_status() -> None:
    body = "Host 10.5.1.1 running 4.2.1.7 failed: user unknown: bob@there.example (#5.1.1)."
    (one,) = bounced(mail(body, Subject="failure notice", **DAEMON)).recipients
    assert str(one.status) == "5.1.1"
    body = body.replace(" (#5.1.1)", "")
    (one,) = bounced(mail(body, Subject="failure notice", **DAEMON)).recipients
    assert one.status is None


def test_words_of_failure_in_a_persons_letter_are_no_bounce() -> None:
    body = "Your invoice bounced: 550 5.1.1 user unknown, says bob@there.example. Why?"
    found = read(
        mail(body, Subject="Re: Hello", In_Reply_To="<1@acme.example>"),
        is_from_null=False,
    )
    assert isinstance(found, HumanReply)


# ---- answers


@pytest.mark.parametrize(
    ("fields", "sign"),
    [
        ({"Auto_Submitted": "auto-replied"}, "auto-submitted"),
        ({"Auto_Submitted": "auto-replied; owner-email=x@y.example"}, "auto-submitted"),
        ({"X_Autoreply": "yes"}, "x-autoreply"),
        ({"Precedence": "auto_reply"}, "precedence"),
        ({"Subject": "Out of office: Hello"}, "subject"),
        ({"Subject": "Automatische Antwort: Hallo"}, "subject"),
        ({"Subject": "=?utf-8?B?6Ieq5Yqo5Zue5aSN77yaSGVsbG8=?="}, "subject"),
        ({"Subject": "Automatyczna odpowiedź: Hello"}, "subject"),
        ({"Subject": "Thanks", "Precedence": "bulk"}, "precedence"),
        ({"X_Auto_Response_Suppress": "All", "Precedence": "bulk"},
         "x-auto-response-suppress"),
    ],
)  # fmt: skip
def test_a_programs_answer(fields: dict[str, str], sign: str) -> None:
    found = read(mail("I am away until Monday.", **fields))
    assert isinstance(found, AutoReply)
    assert (found.sign, found.author) == (sign, "bob@there.example")


def test_bulk_mail_with_a_reverse_path_is_no_answer() -> None:
    content = mail("Buy these.", Subject="Hello", Precedence="bulk")
    assert isinstance(read(content, is_from_null=False), Unrecognised)


def test_auto_submitted_no_is_a_persons() -> None:
    fields = {"Auto_Submitted": "no", "In_Reply_To": "<1@acme.example>"}
    found = read(mail("Thanks, Bob", Subject="Re: Hello", **fields))
    assert isinstance(found, HumanReply)
    assert found.sent.message_ids == ("<1@acme.example>",)


@pytest.mark.parametrize(
    "fields",
    [
        {"X_Boxtrapper": "abc", "Subject": "Your email requires verification"},
        {"From": "Spam Arrest <bob@spamarrest.example>", "Subject": "Hello"},
        {"Subject": "Please confirm your message", "Auto_Submitted": "auto-replied"},
    ],
)
def test_a_challenge(fields: dict[str, str]) -> None:
    body = "To have your message delivered, please confirm that you are a real person."
    assert isinstance(read(mail(body, **fields)), Challenge)


@pytest.mark.parametrize(
    ("subject", "body"),
    [("unsubscribe", ""), ("", "Please remove me from this list"), ("Abmelden", "x")],
)
def test_a_wish_to_be_left_out(subject: str, body: str) -> None:
    found = read(mail(body, Subject=subject), is_from_null=False)
    assert found == Unsubscribe(author="bob@there.example", sent=found.sent)


def asked(content: bytes, *, is_from_null: bool = False) -> object:
    """What it is where it came to an unsubscribe address."""
    arrival = Arrival(is_from_null=is_from_null, is_to_unsubscribe=True)
    return recognised(content, arrival)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("", {"Subject": "list 42"}),
        ("No more of it!", {"Subject": "Re: Our news", "In_Reply_To": "<1@a.example>"}),
        ("", {"Subject": "unsubscribe"}),
        # A program that speaks for its user keeps the subject that the address has.
        ("", {"Subject": "unsubscribe", "Auto_Submitted": "auto-generated"}),
        ("", {"Subject": "Unsubscribe", "Precedence": "bulk"}),
    ],
)
def test_whatever_a_person_writes_to_the_address_for_it_is_the_wish(
    body: str, fields: dict[str, str]
) -> None:
    assert isinstance(asked(mail(body, **fields)), Unsubscribe)


def test_a_null_reverse_path_wishes_what_it_says() -> None:
    wish = mail("", Subject="unsubscribe")
    assert isinstance(asked(wish, is_from_null=True), Unsubscribe)
    silent = mail("Hello", Subject="list 42")
    assert isinstance(asked(silent, is_from_null=True), Unrecognised)


@pytest.mark.parametrize("is_from_null", [True, False])
@pytest.mark.parametrize(
    ("body", "fields", "kind"),
    [
        (
            "Away.",
            {"Subject": "unsubscribe", "Auto_Submitted": "auto-replied"},
            AutoReply,
        ),
        ("Away.", {"Subject": "Re: x", "Auto_Submitted": "auto-generated"}, AutoReply),
        ("I am away.", {"Subject": "Out of office: unsubscribe"}, AutoReply),
        ("", {"Subject": "Re: unsubscribe", "X_Autoreply": "yes"}, AutoReply),
        (
            "To have your message delivered, please confirm that you are a person.",
            {"Subject": "Please confirm your message"},
            Challenge,
        ),
    ],
)
def test_what_a_program_answers_to_the_address_for_it_is_no_wish(
    body: str, fields: dict[str, str], kind: type, is_from_null: bool
) -> None:
    assert isinstance(asked(mail(body, **fields), is_from_null=is_from_null), kind)


@pytest.mark.parametrize("is_from_null", [True, False])
def test_a_report_that_comes_to_the_address_for_it_is_a_report(
    is_from_null: bool,
) -> None:
    status = "Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1"
    bounce = dsn(f"Reporting-MTA: dns; mx.there.example\n\n{status}\n")
    assert isinstance(asked(bounce, is_from_null=is_from_null), Dsn)
    assert isinstance(asked(reported(FEEDBACK), is_from_null=is_from_null), Complaint)


def test_an_answer_that_begins_with_the_word_is_no_wish_either() -> None:
    answer = mail("Unsubscribe here.", Subject="Got it", Auto_Submitted="auto-replied")
    assert isinstance(read(answer), AutoReply)


# ---- complaints


FEEDBACK = (
    "Feedback-Type: abuse\r\nUser-Agent: Someone/1.0\r\nVersion: 1\r\n"
    "Original-Rcpt-To: <bob@there.example>\r\nOriginal-Rcpt-To: eve@there.example\r\n"
    "Reported-Domain: acme.example\r\nSource-IP: 192.0.2.7\r\nIncidents: 3\r\n"
)


def reported(fields: str, original: str = ORIGINAL) -> bytes:
    return multipart(
        "report; report-type=feedback-report",
        ("Content-Type: text/plain", "This is an abuse report."),
        ("Content-Type: message/feedback-report", fields),
        ("Content-Type: message/rfc822", original),
        From="fbl@provider.example",
    )


def test_a_complaint() -> None:
    found = read(reported(FEEDBACK, "CFBL-Feedback-ID: 7:x\r\n" + ORIGINAL))
    assert isinstance(found, Complaint)
    assert found.recipients == ("bob@there.example", "eve@there.example")
    assert (found.feedback_type, found.incidents) == ("abuse", 3)
    assert found.reported_domains == ("acme.example",)
    assert found.sent.feedback_id == "7:x"
    assert found.sent.message_ids == ("<1@acme.example>",)
    assert found.sent.reverse_paths == (f"{TOKEN}@bounce.acme.example",)


def test_a_redacted_complaint_is_one() -> None:
    found = read(reported("Feedback-Type: abuse\r\nVersion: 1\r\nIncidents: many\r\n"))
    assert isinstance(found, Complaint)
    assert (found.recipients, found.incidents) == ((), 1)


def test_a_report_on_failed_authentication() -> None:
    fields = (
        "Feedback-Type: auth-failure\r\nAuth-Failure: dmarc\r\nVersion: 1\r\n"
        "Identity-Alignment: none\r\nDelivery-Result: reject\r\n"
        "DKIM-Domain: acme.example\r\nDKIM-Selector: sb1\r\n"
        "Reported-Domain: acme.example\r\nSource-IP: 192.0.2.7\r\n"
    )
    found = read(reported(fields))
    assert isinstance(found, FailureReport)
    assert (found.failure, found.dkim_selector, found.delivery_result) == (
        "dmarc",
        "sb1",
        "reject",
    )


# ---- what nobody knows


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\0\xff", mail("Dear Sir, buy.")])
def test_the_rest_is_unrecognised(content: bytes) -> None:
    found = read(content, is_from_null=False)
    assert found == Unrecognised(why="no rule knows it", sent=found.sent)


SAMPLES = [
    dsn("Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1\n"),
    reported(FEEDBACK),
    mail("550 5.1.1 bob@there.example unknown", Subject="failure notice", **DAEMON),
    mail("I am away.", Subject="Out of office"),
]


@given(
    sample=st.sampled_from(SAMPLES),
    cuts=st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=12)), max_size=8),
)
def test_no_octets_make_it_raise(sample: bytes, cuts: list[tuple[int, bytes]]) -> None:
    """The invariant: any octets at all give one value with printable, bounded text."""
    for place, octets in cuts:
        at = place % (len(sample) + 1)
        sample = sample[:at] + octets + sample[at + len(octets) // 2 :]
    found = read(sample)
    assert len(repr(found)) < 200_000
    if isinstance(found, Dsn):
        assert all(one.diagnostic.isprintable() for one in found.recipients)


@given(st.binary(max_size=3_000))
def test_random_octets_do_not_make_it_raise(content: bytes) -> None:
    assert read(content).kind


def test_parts_without_end_end() -> None:
    nested = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (one, one)
        for one in range(200)
    )
    many = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\n" * 9_999
    )
    for content in (nested, many, b"Content-Type: message/rfc822\r\n\r\n" * 5_000):
        assert isinstance(read(content, is_from_null=False), Unrecognised)
