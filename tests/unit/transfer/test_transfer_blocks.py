"""Whom a refusal means: cases 146 and 162. Replies as large receivers write them."""

import pytest

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Deferred, Failed, Reason, Scope
from soboo_mta.mail.reply import Reply
from soboo_mta.transfer.answers.blocks import Block, block_in
from soboo_mta.transfer.classify import Stage, of_reply

RULES = own_rules()
OF_SOURCE = [
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using "
    "zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your "
    "Internet service provider since part of their network is on our block list (S3140).",
    "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
    "550 5.7.1 [192.0.2.1 18] Our system has detected that this message is likely "
    "suspicious due to the very low reputation of the sending IP address.",
    "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected "
    "volume or user complaints",
    "554 Your IP address has been blacklisted",
    "550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record",
    "550-5.7.1 This IP has a poor reputation, see http://www.barracudacentral.org",
    "550 5.7.1 Helo command rejected: Host not found",
    "554 5.7.1 The server sending this mail [192.0.2.1] is listed at bl.spamcop.net",
]
OF_CONTENT = [
    "554 5.7.1 Spam message rejected",
    "550 5.7.1 Message content rejected, UBE, id=1234",
    "550-5.7.1 Our system has detected that this message is likely unsolicited mail.",
    "550 5.7.1 likely suspicious due to the very low reputation of the sending domain",
    "552 5.7.0 Our system detected an illegal attachment: virus found",
    "554 5.7.1 message contains a malicious link (SURBL)",
    "554 5.7.1 Sender address [news@acme.example] blocked using dbl.spamhaus.org",
]
OF_THE_DOMAIN = [
    "550 5.7.26 Unauthenticated email is not accepted due to the domain's DMARC policy",
    "550 5.7.1 Mail rejected by SPF policy",
    "450 4.1.8 <news@acme.example>: Sender address rejected: Domain not found",
    "550 Domain of sender address does not resolve",
]
OF_NEITHER = [
    "550 bob@there.example not listed in Domino Directory",
    "550 5.7.1 [192.0.2.1] Recipient address rejected: Access denied",
    "550 5.1.1 The email account that you tried to reach does not exist",
    "550 5.1.1 user unknown; this spamtrap reports to spamhaus",
    "552 5.2.2 Mailbox full, spam folder included",
    "550 5.7.1 You are not allowed to send to this list",
    "550 Requested action not taken: mailbox unavailable",
    "450 4.2.0 Greylisted, please try again in 300 seconds",
    "452 4.5.3 Too many recipients",
    "250 2.0.0 queued behind the spam filter",
]


def received(text: str) -> Reply:
    return Reply.received(int(text[:3]), text[4:])


@pytest.mark.parametrize("text", OF_SOURCE)
def test_case_162_a_refusal_of_our_address_is_the_sources(text):
    assert block_in(received(text), RULES) is Block.SOURCE


@pytest.mark.parametrize("text", OF_CONTENT)
def test_a_refusal_of_content_is_the_tenants(text):
    assert block_in(received(text), RULES) is Block.CONTENT


@pytest.mark.parametrize("text", OF_NEITHER)
def test_what_is_about_the_mailbox_or_about_nothing_is_no_block(text):
    assert block_in(received(text), RULES) is None


@pytest.mark.parametrize("text", OF_THE_DOMAIN)
def test_what_the_domains_records_cause_is_no_block_of_the_source(text):
    assert block_in(received(text), RULES) is None


def test_whose_a_refusal_is_hangs_on_the_receiver():
    text = "550 5.7.1 [CS01] Message rejected due to local policy"
    assert block_in(received(text), RULES) is None
    apple = "mx01.mail.icloud.com[192.0.2.1]:25"
    assert block_in(received(text), RULES, host=apple) is Block.SOURCE


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
def test_case_162_a_blocked_address_defers_the_site_and_no_recipient_fails(stage):
    outcome = of_reply(stage, received(OF_SOURCE[0]), rules=RULES)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.scope) == (Reason.BLOCKED, Scope.SITE)


def test_case_162_a_blocked_banner_leaves_the_other_hosts_a_chance():
    outcome = of_reply(Stage.BANNER, received(OF_SOURCE[0]), rules=RULES)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.scope) == (Reason.BLOCKED, Scope.HOST)


def test_a_blocked_content_fails_or_waits_and_is_the_tenants():
    outcome = of_reply(Stage.DOT, received(OF_CONTENT[0]), rules=RULES)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.scope) == (Reason.CONTENT_BLOCKED, Scope.TENANT)
    later = of_reply(
        Stage.DOT, received("451 4.7.1 Spam message deferred"), rules=RULES
    )
    assert isinstance(later, Deferred)
    assert later.scope is Scope.TENANT


def test_case_146_a_552_at_rcpt_stays_too_many_recipients():
    outcome = of_reply(
        Stage.RCPT, received("552 5.5.3 Too many recipients"), rules=RULES
    )
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.RECIPIENT
