"""Who may write as whom, and what is rewritten (cases 46-54 and 158)."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from soboo_mta.identity.state import Mode
from soboo_mta.mail.address import NULL_REVERSE_PATH, ReversePath, parse_mailbox
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.ids import CredentialId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.store.unit import StoreFull
from soboo_mta.submission.acceptance import Envelope, Login
from soboo_mta.submission.options import AcceptanceOptions
from tests.fakes.submission import ACME, HEADER, HOST, MESSAGE, Desk, desk, domain_state

CLIENT = ip_address("198.51.100.7")
LOGIN = Login(tenant=ACME, credential=CredentialId(1), client=CLIENT)
OPERATOR_LOGIN = Login(tenant=None, credential=CredentialId(2), client=CLIENT)
ENVELOPE = Envelope(
    reverse_path=NULL_REVERSE_PATH,
    recipients=(parse_mailbox("rcpt@dest.example"),),
    smtputf8=False,
    protocol="ESMTPSA",
)


async def keep(octets: bytes, login: Login = LOGIN, one: Desk | None = None) -> Desk:
    one = one or desk()
    await one.acceptance.data(login, ENVELOPE, octets)
    return one


async def kept(octets: bytes, login: Login = LOGIN) -> SpooledMessage:
    return (await keep(octets, login)).spool.kept[0]


async def refusal(octets: bytes, login: Login = LOGIN, one: Desk | None = None) -> str:
    one = one or desk()
    with pytest.raises(Reject) as caught:
        await one.acceptance.data(login, ENVELOPE, octets)
    assert one.spool.kept == []
    assert one.handed_over == []
    return str(caught.value.reply)


def written_by(author: bytes, more: bytes = b"") -> bytes:
    return b"From: " + author + b"\r\n" + more + b"Subject: x\r\n\r\nHello\r\n"


async def test_case_046_a_domain_never_verified_is_told_what_to_publish() -> None:
    said = await refusal(written_by(b"a@new.example"))
    assert said.startswith("550 5.7.1")
    assert "bounce.new.example CNAME t0ken.b.esp.example." in said
    assert "sb1._domainkey.new.example CNAME sb1.t0ken.k.esp.example." in said


async def test_case_046_a_foreign_domain_and_an_unknown_one_get_the_same_words() -> (
    None
):
    other = await refusal(written_by(b"a@other.example"))
    nobody = await refusal(written_by(b"a@nobody.example"))
    assert other.startswith("550 5.7.1")
    assert other.replace("other.example", "nobody.example") == nobody


@pytest.mark.parametrize("mode", [Mode.RELAY, Mode.MAILBOX])
async def test_mail_that_can_not_leave_by_its_mode_is_refused(mode: Mode) -> None:
    one = desk()
    verified = domain_state("shop.example")
    settings = replace(verified.settings, mode=mode)
    one.directory.domains.append(replace(verified, settings=settings))
    reply = await refusal(written_by(b"a@shop.example"), one=one)
    assert reply.startswith("550 5.3.3 The From domain shop.example is in mode")
    assert "is not in this release" in reply
    assert one.spool.kept == []


async def test_case_046_a_domain_of_a_test_harness_may_send_unverified() -> None:
    one = desk()
    one.directory.domains.append(
        domain_state("lab.example", was_verified=False, assume_verified=True)
    )
    await keep(written_by(b"a@lab.example"), one=one)
    assert len(one.spool.kept) == 1


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@acme.example\r\nFrom: b@other.example\r\n",
        b" From: a@acme.example\r\nFrom: a@acme.example\r\n",
        b"From : a@acme.example\r\n",
        b"From\r\n : a@acme.example\r\n",
        b"From : b@other.example\r\nFrom: a@acme.example\r\n",
        b"Subject: none\r\n",
        b"From a@acme.example Thu Jan  1 00:00:00 2026\r\nFrom: a@acme.example\r\n",
    ],
)
async def test_case_047_anything_but_one_plain_from_field_is_refused(
    header: bytes,
) -> None:
    assert (await refusal(header + b"\r\nHello\r\n")).startswith("55")


@pytest.mark.parametrize(
    "author",
    [
        b"a@acme.example, b@other.example",
        b"a@acme.example, b@acme.example",
        b"Team: a@acme.example;",
        b"undisclosed:;",
        b"=?utf-8?q?a=40acme.example?=",
        b"=?utf-8?b?YUBhY21lLmV4YW1wbGU=?= <b@other.example>, a@acme.example",
        b"<@other.example:a@acme.example>",
        b"<a@acme.example>b@other.example",
        b"<b@other.example> <a@acme.example>",
        b"a@acme.example <b@other.example",
        b"",
        b"no address at all",
    ],
)
async def test_case_048_anything_but_one_mailbox_is_refused(author: bytes) -> None:
    assert (await refusal(written_by(author))).startswith("550 5.")


@pytest.mark.parametrize("field", [b"Sender", b"Resent-From", b"Resent-Sender"])
async def test_case_049_fields_that_speak_for_another_tenant_are_refused(
    field: bytes,
) -> None:
    said = await refusal(
        written_by(b"a@acme.example", field + b": b@other.example\r\n")
    )
    assert said.startswith("550 5.7.1")
    assert field.decode() in said
    await kept(written_by(b"a@acme.example", field + b": b@second.example\r\n"))


async def test_case_049_reply_to_may_be_anybodys() -> None:
    more = b"Reply-To: b@other.example, c@nobody.example\r\n"
    assert more in (await kept(written_by(b"a@acme.example", more))).content


@pytest.mark.parametrize(
    "domain",
    [b"mail.acme.example", b"example", b"acme.example.evil.test", b"xacme.example"],
)
async def test_case_050_only_the_exact_verified_name_may_send(domain: bytes) -> None:
    assert (await refusal(written_by(b"a@" + domain))).startswith("550 5.")


@pytest.mark.parametrize("domain", [b"ACME.example", b"acme.EXAMPLE"])
async def test_case_051_the_domain_is_compared_in_one_normal_form(
    domain: bytes,
) -> None:
    message = await kept(written_by(b"a@" + domain))
    assert message.author.domain == "acme.example"


@pytest.mark.parametrize(
    "domain", [b"acme.example\0.evil.test", "аcme.example".encode(), b"acme.example."]
)
async def test_case_051_look_alikes_and_nul_are_refused(domain: bytes) -> None:
    assert (await refusal(written_by(b"a@" + domain))).startswith("55")


async def test_case_052_the_reverse_path_decides_nothing_about_the_tenant() -> None:
    foreign = ReversePath(parse_mailbox("b-x@bounce.other.example"))
    envelope = Envelope(
        reverse_path=foreign,
        recipients=ENVELOPE.recipients,
        smtputf8=False,
        protocol="ESMTPSA",
    )
    one = desk()
    await one.acceptance.data(LOGIN, envelope, MESSAGE)
    assert one.spool.kept[0].tenant == ACME
    assert b"bounce.other.example" not in one.spool.kept[0].content


async def test_case_053_private_fields_are_cut_and_the_rest_stays_octet_for_octet() -> (
    None
):
    private = (
        b"Return-Path: <x@y.example>\r\nBcc: secret@dest.example,\r\n more@dest.example"
        b"\r\nresent-bcc: s@dest.example\r\nAuthentication-Results: mta; spf=pass\r\n"
        b"X-Soboo-Tenant: other\r\n"
    )
    rest = (
        b"Received: from app (app [10.0.0.1]) by relay; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
        b"DKIM-Signature: v=1; d=third.example; b=abc\r\nARC-Seal: i=1\r\n"
        b"X-Odd:\tkept \t as it is \r\n  folded\r\n"
    )
    message = await kept(private[:28] + HEADER + private[28:] + rest + b"\r\nHello\r\n")
    received, _, after = message.content.partition(b"\r\n\t")
    assert received.startswith(b"Received: by mta.esp.example with ESMTPSA id ")
    assert after.split(b"\r\n", 1)[1] == HEADER + rest + b"\r\nHello\r\n"
    assert b"198.51.100.7" not in message.content
    assert message.client == "198.51.100.7"


async def test_case_054_a_missing_date_and_message_id_are_added() -> None:
    message = await kept(written_by(b"a@acme.example"))
    own = f"<{message.message_id}@acme.example>"
    assert message.header_message_id == own
    assert f"\r\nMessage-ID: {own}\r\n".encode() in message.content
    assert b"\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n" in message.content


@pytest.mark.parametrize(
    "field",
    [
        b"Message-ID: no brackets@x.example\r\n",
        b"Message-ID: <>\r\n",
        b"Message-ID: <no-at>\r\n",
        b"Message-ID: <@>\r\n",
        b"Message-ID: <a@>\r\n",
        b"Message-ID: <@b>\r\n",
        b"Message-ID: <a@b@c>\r\n",
        b"Message-ID: <a@x.example>\r\nmessage-id: <b@x.example>\r\n",
        b"Date: yesterday\r\n",
        b"Date: Mon, 31 Feb 2026 00:00:00 +0000\r\n",
        b"Date: Thu, 01 Jan 2026 25:00:00 +0000\r\n",
        b"Date: Thu, 01 Jan 2026 00:00:00 +9999\r\n",
        b"Date: Thu, 01 Jan 2026 00:00:00 +99999999999999999999\r\n",
        b"Date: Thu, 01 Jan 99999999999 00:00:00 +0000\r\n",
        b"Date:\r\n",
        b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nDATE: Thu, 1 Jan 2026 00:00:01 +0000\r\n",
    ],
)
async def test_case_054_a_malformed_or_doubled_one_is_replaced(field: bytes) -> None:
    message = await kept(written_by(b"a@acme.example", field))
    assert field not in message.content
    header = message.content.lower()
    assert header.count(b"\r\nmessage-id:") == header.count(b"\r\ndate:") == 1


@pytest.mark.parametrize(
    "field",
    [
        b"Message-ID:\r\n <folded.1@x.example>\r\nDate: 1 Jan 2026 00:00 GMT\r\n",
        b'Message-ID: <"a@b c"@x.example>\r\n',
        b"Message-ID: <a@[127.0.0.1]>\r\nDate: Thu, 1 Jan 2026 00:00:00 -0500 (EST)\r\n",
    ],
)
async def test_case_054_good_ones_stay_as_they_are(field: bytes) -> None:
    message = await kept(written_by(b"a@acme.example", field))
    assert field in message.content
    assert message.content.lower().count(b"\r\nmessage-id:") == 1


async def test_case_158_a_message_that_went_through_too_many_hosts_is_refused() -> None:
    hop = b"Received: by x; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    await kept(written_by(b"a@acme.example", hop * 50))
    said = await refusal(written_by(b"a@acme.example", hop * 51))
    assert said.startswith("554 5.4.6")


async def test_case_158_mail_that_comes_back_to_us_again_and_again_is_refused() -> None:
    octets = MESSAGE
    for _ in range(3):  # each passage adds a Received field of ours
        octets = (await kept(octets)).content
    said = await refusal(octets)
    assert said.startswith("554 5.4.6")
    assert "went through this host" in said


# ---- the operator, quotas, suspension


async def test_an_operator_credential_sends_for_the_owner_of_the_domain() -> None:
    assert (
        await kept(written_by(b"a@other.example"), OPERATOR_LOGIN)
    ).tenant == "other"
    assert (await kept(written_by(b"a@acme.example"), OPERATOR_LOGIN)).tenant == "acme"
    said = await refusal(written_by(b"a@new.example"), OPERATOR_LOGIN)
    assert said.startswith("550 5.7.1")


async def test_sender_of_a_third_tenant_is_refused_for_the_operator_too() -> None:
    octets = written_by(b"a@acme.example", b"Sender: b@other.example\r\n")
    assert (await refusal(octets, OPERATOR_LOGIN)).startswith("550 5.7.1")


async def test_only_a_trusted_network_sends_without_a_credential() -> None:
    one = desk(
        AcceptanceOptions(
            host_name=HOST, trusted_networks=(ip_network("198.51.100.0/24"),)
        )
    )
    login = one.acceptance.trusted(CLIENT)
    assert login == Login(tenant=None, credential=None, client=CLIENT)
    assert one.acceptance.trusted(ip_address("203.0.113.1")) is None
    assert one.acceptance.trusted(ip_address("::1")) is None


async def test_case_057_a_suspended_tenant_is_refused() -> None:
    one = desk()
    one.directory.tenants[ACME].suspended = True
    assert (await refusal(MESSAGE, one=one)).startswith("550 5.7.1")


async def test_case_060_a_used_up_quota_is_temporary() -> None:
    one = desk()
    one.quota.left = 0
    assert (await refusal(MESSAGE, one=one)).startswith("451 4.7.1")


async def test_what_was_not_kept_costs_no_quota() -> None:
    one = desk()
    one.quota.left = 1
    one.spool.failure = StoreFull("no space")
    assert (await refusal(MESSAGE, one=one)).startswith("452 4.3.1")
    one.spool.failure = None
    assert len((await keep(MESSAGE, one=one)).spool.kept) == 1


# ---- keeping


async def test_without_room_in_transfer_the_message_is_queued_and_not_handed_over() -> (
    None
):
    asked: list[tuple[int, str]] = []
    one = desk(room_for=lambda *of: bool(asked.append(of)))
    await keep(MESSAGE, one=one)
    assert one.spool.claims == [False]
    assert one.handed_over == []
    kept = one.spool.kept[0]
    assert asked == [(kept.size, kept.tenant)]


async def test_a_message_the_spool_did_not_claim_is_not_handed_over() -> None:
    one = desk()
    one.spool.has_lease = False
    await keep(MESSAGE, one=one)
    assert len(one.spool.kept) == 1
    assert one.handed_over == []


async def test_case_122_the_answer_waits_for_the_commit_and_names_the_message() -> None:
    one = desk()
    one.spool.gate = asyncio.Event()
    answering = asyncio.create_task(one.acceptance.data(LOGIN, ENVELOPE, MESSAGE))
    await one.spool.is_committing.wait()
    assert not answering.done()
    assert one.handed_over == []
    one.spool.gate.set()
    said = str(await answering)
    assert said == f"250 2.0.0 Accepted as {one.spool.kept[0].message_id}"
    assert one.handed_over == [(one.spool.kept[0], (0,))]


async def test_a_large_message_is_prepared_in_a_thread_to_the_same_end() -> None:
    small, large = desk(), desk(AcceptanceOptions(host_name=HOST, thread_over_octets=0))
    await keep(MESSAGE, one=small)
    await keep(MESSAGE, one=large)
    assert small.spool.kept == large.spool.kept


async def test_expiry_is_the_lifetime_after_acceptance() -> None:
    message = await kept(MESSAGE)
    assert message.expires_at - message.accepted_at == 5 * 24 * 3_600 * 1_000
