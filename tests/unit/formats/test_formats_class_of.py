"""The class of an attempt, and of what a report says of a recipient."""

import pytest

from soboo_mta.formats.classes.attempts import class_of
from soboo_mta.formats.classes.reported import class_of_report
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import EnhancedStatus
from soboo_mta.mail.returned import Action, Dsn, Reported

RULES = own_rules()
GMAIL = "aspmx.l.google.com[192.0.2.1]:25"


@pytest.mark.parametrize(
    ("reason", "reply", "host", "expected"),
    [
        (Reason.REPLY, "550 5.1.1 no such user", "", "invalid-mailbox"),
        (Reason.REPLY, "550 5.7.30 no", GMAIL, "unauthenticated"),
        (Reason.REPLY, "550 5.7.30 no", "", "tls-required"),
        (Reason.BLOCKED, "554 listed at bl.there.example", "", "blocked-source"),
        (Reason.UNSUPPORTED, "554 5.6.7 takes no UTF-8 addresses", "", "unsupported"),
        (Reason.LIFETIME, "452 4.2.2 mailbox full", "", "mailbox-full"),
        (Reason.LIFETIME, "", "", "expired"),
        (Reason.TIMEOUT, "451 4.4.2 no answer in time (at spam)", "", "no-answer"),
        (Reason.DNS_PERMANENT, "554 5.1.2 there is no such host", "", "invalid-domain"),
        (Reason.SUPPRESSED, "550 5.1.1 user unknown", "", None),
        (Reason.DOMAIN_BROKEN, "publish the SPF record", "", None),
        (Reason.INTERRUPTED, "451 4.3.2 broken off by us", "", None),
    ],
)
def test_an_attempt_has_the_class_of_the_words_or_of_the_silence(
    reason: Reason, reply: str, host: str, expected: str | None
) -> None:
    assert class_of(RULES, reason, reply, host) == expected


@pytest.mark.parametrize(
    ("diagnostic", "status", "text", "expected"),
    [
        ("550 mailbox full", (5, 1, 1), "a virus", "mailbox-full"),
        ("", (5, 1, 1), "This notice was checked for viruses.", "invalid-mailbox"),
        ("", (5, 0, 0), "There is no such user.", "invalid-mailbox"),
        ("", None, "There is no such user.", "invalid-mailbox"),
        ("Reason 1; Diagnostic -1", (5, 0, 0), "It has a virus.", "unsafe-content"),
        ("", (5, 0, 0), "Sorry.", "unknown"),
    ],
)
def test_a_report_is_read_by_the_surest_of_what_it_says(
    diagnostic: str, status: tuple[int, int, int] | None, text: str, expected: str
) -> None:
    recipient = Reported(
        action=Action.FAILED,
        status=EnhancedStatus(*status) if status else None,
        diagnostic=diagnostic,
    )
    report = Dsn(form="rfc3464", recipients=(recipient,), text=text)
    assert class_of_report(RULES, report, recipient).bounce_class == expected


def test_a_reports_provider_is_its_remote_hosts_or_its_own() -> None:
    recipient = Reported(action=Action.FAILED, status=EnhancedStatus(5, 7, 30))
    report = Dsn(form="rfc3464", recipients=(recipient,), reporting_mta="mx.google.com")
    found = class_of_report(RULES, report, recipient)
    assert (found.provider, found.bounce_class) == ("gmail", "unauthenticated")


def test_the_words_to_all_are_nobodys_where_there_are_several() -> None:
    one, other = (
        Reported(action=Action.FAILED, recipient=f"{name}@there.example")
        for name in ("ann", "bob")
    )
    report = Dsn(form="words", recipients=(one, other), text="bob: user unknown")
    assert class_of_report(RULES, report, one).bounce_class == "unknown"
