"""Why mail was refused: the rule set that comes with the relay, and rule sets of others."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.classes.rules import (
    Said,
    own_rules,
    own_rules_text,
    read_rules,
    said_in,
)
from soboo_mta.mail.bounce_class import BounceClass, Charged, Consequence
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.reply import EnhancedStatus

RULES = own_rules()
GMAIL, MICROSOFT, YAHOO = (
    "gmail-smtp-in.l.google.com",
    "acme-example.mail.protection.outlook.com",
    "mta7.am0.yahoodns.net",
)


@pytest.mark.parametrize(
    ("text", "host", "expected"),
    [
        ("550 5.1.1 <bob@there.example>: Recipient address rejected: User unknown in "
         "virtual mailbox table", "", "invalid-mailbox"),
        ("550 No such user here", "", "invalid-mailbox"),
        ("550 5.1.1 The email account that you tried to reach does not exist. Please try "
         "double-checking the address", GMAIL, "invalid-mailbox"),
        ("550 5.4.1 Recipient address rejected: Access denied. [AS(2012)]", MICROSOFT,
         "invalid-mailbox"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address "
         "lookup", MICROSOFT, "invalid-mailbox"),
        ("554 delivery error: dd This user doesn't have a yahoo.com account", YAHOO,
         "invalid-mailbox"),
        ("550 5.1.2 Host unknown (Name server: there.example: host not found)", "",
         "invalid-domain"),
        ("556 5.1.10 the domain takes no mail: null MX", "", "invalid-domain"),
        ("554 5.2.1 The email account is disabled", GMAIL, "inactive-mailbox"),
        ("550 5.2.1 Mailbox has been deactivated", "", "inactive-mailbox"),
        ("452 4.2.2 The email account that you tried to reach is over quota", GMAIL,
         "mailbox-full"),
        ("552 5.2.2 Mailbox size limit exceeded; mailbox is full", "", "mailbox-full"),
        ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", MICROSOFT,
         "recipient-rule"),
        ("552 5.3.4 Message size exceeds fixed limit", "", "message-too-large"),
        ("550 5.6.7 SMTPUTF8 is not offered", "", "unsupported"),
        ("550-5.7.26 This mail has been blocked because the sender is unauthenticated.",
         GMAIL, "unauthenticated"),
        ("421-4.7.32 Your email has been rate limited because the From: header isn't "
         "aligned with either SPF or DKIM", GMAIL, "unauthenticated"),
        ("550 5.7.515 Access denied, sending domain acme.example does not meet the "
         "required authentication level", MICROSOFT, "unauthenticated"),
        ("550 5.7.1 Message rejected due to DMARC policy", "", "unauthenticated"),
        ("550 SPF check failed for acme.example", "", "unauthenticated"),
        ("550-5.7.1 Our system has detected that this message is likely suspicious due to "
         "the very low reputation of the sending domain.", GMAIL, "domain-reputation"),
        ("550 5.7.1 [192.0.2.7] Our system has detected that this message is likely "
         "unsolicited mail.", GMAIL, "spam-content"),
        ("554 5.7.1 Message rejected as spam by Content Filtering", "", "spam-content"),
        ("552 5.7.0 This message was blocked because its content presents a potential "
         "security issue.", GMAIL, "unsafe-content"),
        ("550 5.7.1 virus found: EICAR", "", "unsafe-content"),
        ("554 5.6.0 Malformed header: missing From", "", "bad-form"),
        ("550 5.7.1 Service unavailable, Client host [192.0.2.7] blocked using Spamhaus",
         MICROSOFT, "blocked-source"),
        ("550 5.7.606 Access denied, banned sending IP [192.0.2.7]", MICROSOFT,
         "blocked-source"),
        ("421 4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred due to user "
         "complaints", YAHOO, "blocked-source"),
        ("554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using "
         "zen.spamhaus.org", "", "blocked-source"),
        ("550-5.7.25 The IP address sending this message does not have a PTR record",
         GMAIL, "source-dns"),
        ("450 4.7.25 Client host rejected: cannot find your reverse hostname", "",
         "source-dns"),
        ("421-4.7.28 Gmail has detected an unusual rate of unsolicited mail", GMAIL,
         "rate-limited"),
        ("451 4.7.650 The mail server has been temporarily rate limited", MICROSOFT,
         "rate-limited"),
        ("421 4.3.2 Too many connections from your host", "", "rate-limited"),
        ("450 4.2.0 <bob@there.example>: Recipient address rejected: Greylisted", "",
         "greylisted"),
        ("530 5.7.0 Must issue a STARTTLS command first", "", "tls-required"),
        ("554 5.7.1 <bob@there.example>: Relay access denied", "", "relaying-denied"),
        ("550 5.7.1 refused by local policy", "", "policy"),
        ("554 5.4.6 Too many hops", "", "loop"),
        ("connection timed out", "", "no-answer"),
        ("451 4.4.3 Temporary lookup failure", "", "dns-failure"),
        ("451 4.3.0 Internal server error", "", "peer-trouble"),
        ("550 User [bob@there.example] does not exist", "", "invalid-mailbox"),
        ("554 Rcpt <bob@there.example> does not exist", "", "invalid-mailbox"),
        ("553 Content rejected:192.0.2.20.2026112900.Xq:filter", "", "spam-content"),
        ("User's quota reached: recipient reached the disk quota", "", "mailbox-full"),
        ("Invalid final delivery userid", "", "invalid-mailbox"),
        ("Name service error for there.example: Host not found, try again", "",
         "dns-failure"),
        ("it has not been collected after 30 days", "", "expired"),
        ("550 RECIPIENT_UNKNOWN: bad_recipient", "", "invalid-mailbox"),
        ("550 5.4.1 Recipient address rejected: Access denied. [AS(2012)]", "",
         "invalid-mailbox"),
        ("551 <bob@there.example> is a closed account", "", "inactive-mailbox"),
        ("[mx.there.example]: Name or service not known", "", "invalid-domain"),
        ("<bob@there.example>: Domain does not exist", "", "invalid-domain"),
        ("554 5.7.1 Recipient address rejected: Access denied", "", "recipient-rule"),
        ("550 5.7.1 Recipient address rejected: by our policy", "", "recipient-rule"),
        ("Your mail was not delivered because the recipients are not accepting mail "
         "with pictures", "", "recipient-rule"),
        ("450 4.1.8 <news@acme.example>: Sender address rejected: Domain not found", "",
         "unauthenticated"),
        ("550 Domain of sender address news@acme.example does not resolve", "",
         "unauthenticated"),
        ("550 5.7.1 Mail rejected by SPF policy", "", "unauthenticated"),
        ("550 5.7.1 Likely suspicious due to the low reputation of the sending IP", "",
         "blocked-source"),
        ("550 No PTR record for 192.0.2.7", "", "source-dns"),
        ("554 Blocked using spam patterns", "", "spam-content"),
        ("550 Spammers are not welcome", "", "spam-content"),
        ("550 5.7.1 Message rejected", "", "policy"),
        ("454 Sender not pre-approved, follow the instructions", "", "challenge"),
        ("The host was not reachable within the allowed queue period", "", "expired"),
        ("this message has been in the queue too long", "", "expired"),
        ("554 Service is currently unavailable", "", "peer-trouble"),
        ("delivery time expired", "", "expired"),
    ],
)  # fmt: skip
def test_what_receivers_say(text: str, host: str, expected: str) -> None:
    found = RULES.classify(said_in(text, hosts=(host,)))
    assert found.bounce_class == expected, found


def test_a_status_means_another_thing_at_another_provider() -> None:
    bare = {
        host: RULES.classify(
            Said(text="", status=EnhancedStatus(5, 7, 30), hosts=(host,))
        ).bounce_class
        for host in (GMAIL, MICROSOFT)
    }
    assert bare == {
        GMAIL: BounceClass.UNAUTHENTICATED,
        MICROSOFT: BounceClass.TLS_REQUIRED,
    }


def test_an_operators_rules_are_asked_before_ours() -> None:
    mine = """
        [class.policy]
        says = "Their policy."
        charged = "recipient"
        consequence = "nothing"
        [provider.there]
        hosts = ["there.example"]
        [provider.gmail]
        hosts = ["google.test"]
        [[rule]]
        name = "mine"
        text = "user unknown"
        to = "policy"
        [[rule]]
        name = "theirs"
        provider = "there"
        text = "unknown"
        to = "loop"
        [[rule]]
        name = "of-gmail"
        provider = "gmail"
        status = ["5.7.26"]
        to = "spam-content"
    """
    rules = read_rules(mine, own_rules_text())

    def found(text: str, host: str = "") -> str:
        return rules.classify(said_in(text, hosts=(host,))).rule

    assert found("550 user unknown") == "mine"
    assert found("550 user unknown", "mx.there.example") == "theirs"
    assert found("550 5.7.26 no", GMAIL) == found("550 5.7.26 no", "a.google.test")
    assert found("550 5.7.26 no", GMAIL) == "of-gmail"
    assert found("552 mailbox full") == "full-words"  # one of ours
    assert rules.classes[BounceClass.POLICY].charged is Charged.RECIPIENT
    assert rules.classes[BounceClass.LOOP] == RULES.classes[BounceClass.LOOP]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("550 <a@there.example>: user unknown", "550 <bob@there.example>: user unknown"),
        ("550 no user 4f1a2b3c4d5e6f7081-xq.9 - gsmtp",
         "550 no user 99a7c2d1e0f4b5a6c3-zz.1 - gsmtp"),
    ],
)  # fmt: skip
def test_what_receivers_repeat_is_read_once(one: str, other: str) -> None:
    assert RULES.classify(said_in(one)) is RULES.classify(said_in(other))


def test_an_address_of_a_host_is_no_serial() -> None:
    found = RULES.classify(said_in("550 [192.0.2.101] was blocked here"))
    assert found.bounce_class is BounceClass.BLOCKED_SOURCE
    assert "192.0.2.101" in found.matched


def test_failed_authentication_is_the_domains_and_never_the_recipients() -> None:
    facts = RULES.classes[BounceClass.UNAUTHENTICATED]
    assert (facts.charged, facts.consequence) == (Charged.DOMAIN, Consequence.CHECK_DNS)
    for facts in RULES.classes.values():
        if facts.consequence is Consequence.SUPPRESS:
            assert facts.charged is Charged.RECIPIENT


def test_what_nobody_knows_is_unknown_and_harms_nobody() -> None:
    found = RULES.classify(said_in("hello"))
    assert found.bounce_class is BounceClass.UNKNOWN
    assert (found.rule, found.facts.consequence) == ("", Consequence.NOTHING)


def test_a_rule_names_a_class_each_class_has_a_rule_or_another_source() -> None:
    reached = set(re.findall(r'(?m)^to = "([a-z-]+)"', own_rules_text()))
    assert set(BounceClass) - reached == {
        BounceClass.AUTO_REPLY,  # from what a return is, not from what it says
        BounceClass.UNKNOWN,
    }


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("ALT1.aspmx.l.google.com.", "gmail"),
        ("x.mail.protection.outlook.com:25", "microsoft"),
        ("aspmx.l.google.com[192.0.2.1]:25", "gmail"),
        ("aspmx.l.google.com[2001:db8::1]:25", "gmail"),
        ("notgoogle.com", ""),
        ("", ""),
    ],
)
def test_providers_go_by_the_end_of_a_hosts_name(host: str, provider: str) -> None:
    assert RULES.provider_of(["mx.unknown.example", host]) == provider


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("550 5.1.1 no", 550, (5, 1, 1)),
        ("host mx[192.0.2.5] said: 450-4.2.1 later", 450, (4, 2, 1)),
        ("mailbox full (#5.2.2)", None, (5, 2, 2)),
        ("refused by 10.5.1.1 and 5.1.1.9", None, None),
        ("version 14550 of it", None, None),
    ],
)
def test_code_and_status_are_found_in_the_text(
    text: str, code: int | None, status: tuple[int, int, int] | None
) -> None:
    said = said_in(text, status=EnhancedStatus(5, 0, 0))
    assert said.code == code
    assert said.status == EnhancedStatus(*(status or (5, 0, 0)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[class.loop]", "[class.", "no TOML"),
        ("[class.loop]", "[class.lop]", "class.lop"),
        ('charged = "source"', 'charged = "me"', "charged"),
        ('status = ["x.4.7"]', 'status = ["4.7"]', "is no status"),
        ('status = ["x.4.7"]', 'text = "("', "no regular expression"),
        ('status = ["x.4.7"]', "", "asks for nothing"),
        ('provider = "gmx"', 'provider = "gxm"', "has no hosts"),
        ('name = "code-policy"', 'nme = "code-policy"', "rule"),
    ],
)
def test_a_wrong_rule_set_says_what_is_wrong(old: str, new: str, why: str) -> None:
    text = own_rules_text()
    assert old in text
    with pytest.raises(FormatError, match=why):
        read_rules(text.replace(old, new, 1))


def test_a_class_that_is_not_described_is_named() -> None:
    text = own_rules_text()
    start = text.index("[class.loop]")
    without = text[:start] + text[text.index("[class.no-answer]") :]
    with pytest.raises(FormatError, match="class loop is not described"):
        read_rules(without)


_LONG = (
    "user",
    "host",
    "server",
    "exceed",
    "recipient",
    "mail over ",
    "no ",
    "name ",
    ".",
)


@pytest.mark.parametrize("word", _LONG)
@pytest.mark.parametrize("width", [0, 16, 60])
def test_nothing_that_a_stranger_says_keeps_the_relay_busy(
    word: str, width: int
) -> None:
    text = f"{(word * 20)[: width - 1]} " * 300 if width else word * 1_000
    began = time.process_time()
    read_rules(own_rules_text()).classify(said_in(text[:2_000]))
    assert time.process_time() - began < 1  # unbounded words took sixteen seconds


@given(st.text(max_size=400))
def test_any_text_has_one_class(text: str) -> None:
    assert RULES.classify(said_in(text)).bounce_class in BounceClass
