"""Verdicts: told apart for aligned, tampered, unaligned, revoked and unknowable mail."""

from dataclasses import replace

import pytest

from soboo_mta.lab.dns.zones import ZoneDirectory
from soboo_mta.lab.record import Verdict
from soboo_mta.lab.verdict import Judge, Received
from tests.unit.lab.conftest import World

OUTSIDER = "127.0.0.66"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


async def verdict_on(
    judge: Judge,
    world: World,
    octets: bytes,
    *,
    peer: str = OUTSIDER,
    mail_from: str = "b-1@bounce.customer.test",
    helo: str = "out.esp.test",
) -> Verdict:
    zones = ZoneDirectory(world.directory / "zones", world.directory / "faults.toml")
    received = Received(peer=peer, helo=helo, mail_from=mail_from, octets=octets)
    return await judge.judge(received, zones.current())


async def test_a_signed_message_from_a_listed_address_passes_by_both(judge, world):
    world.publish_customer()
    octets = world.signed(world.message())
    verdict = await verdict_on(judge, world, octets, peer="127.0.0.1")
    assert (verdict.spf.result, verdict.dkim[0].result) == ("pass", "pass")
    assert (verdict.dmarc, verdict.dmarc_policy, verdict.aligned) == (
        "pass",
        "reject",
        True,
    )
    assert verdict.message_id == "<1@customer.test>"
    assert (verdict.author, verdict.author_domain) == (
        "Ann <ann@customer.test>",
        "customer.test",
    )
    signature = verdict.dkim[0]
    assert (signature.d, signature.s, signature.a) == (
        "customer.test",
        "sb1",
        "rsa-sha256",
    )


async def test_a_signature_alone_is_enough(judge, world):
    world.publish_customer()
    verdict = await verdict_on(judge, world, world.signed(world.message()))
    assert (verdict.spf.result, verdict.dmarc) == ("fail", "pass")


async def test_an_ed25519_signature_is_verified_too(judge, world):
    world.publish_customer()
    octets = world.signed_ed25519(world.signed(world.message()))
    verdict = await verdict_on(judge, world, octets)
    assert [(each.a, each.result) for each in verdict.dkim] == [
        ("ed25519-sha256", "pass"),
        ("rsa-sha256", "pass"),
    ]


async def test_spf_alone_is_enough(judge, world):
    world.publish_customer()
    verdict = await verdict_on(judge, world, world.message(), peer="127.0.0.1")
    assert (verdict.dkim, verdict.dmarc, verdict.aligned) == ((), "pass", True)


@pytest.mark.parametrize(
    ("before", "after"), [(b"Hello", b"HELLO"), (b"Subject: Hi", b"Subject: Ho")]
)
async def test_a_tampered_message_fails(judge, world, before, after):
    world.publish_customer()
    octets = world.signed(world.message()).replace(before, after)
    verdict = await verdict_on(judge, world, octets)
    assert (verdict.dkim[0].result, verdict.dmarc) == ("fail", "fail")
    assert not verdict.aligned


async def test_another_domains_signature_and_spf_do_not_align(judge, world):
    world.publish_customer()
    octets = world.signed(world.message("eve@victim.test"))
    world.write("victim.test", '_dmarc TXT "v=DMARC1; p=none"')
    verdict = await verdict_on(judge, world, octets, peer="127.0.0.1")
    assert (verdict.spf.result, verdict.dkim[0].result) == ("pass", "pass")
    assert (verdict.dmarc, verdict.dmarc_policy) == ("fail", "none")


async def test_strict_alignment_refuses_what_relaxed_allows(judge, world):
    world.publish_customer()
    octets = world.signed(world.message("ann@news.customer.test"))
    assert (await verdict_on(judge, world, octets)).dmarc == "pass"
    world.write(
        "news.customer.test", '_dmarc TXT "v=DMARC1; p=reject; adkim=s; aspf=s"'
    )
    assert (await verdict_on(judge, world, octets)).dmarc == "fail"


async def test_a_public_suffix_aligns_with_nobody(judge, world):
    world.write(
        "co.uk", 'bounce TXT "v=spf1 -all"', '@ TXT "v=spf1 ip4:127.0.0.1 -all"'
    )
    world.write("shop.co.uk", '_dmarc TXT "v=DMARC1; p=none"')
    verdict = await verdict_on(
        judge,
        world,
        world.message("a@shop.co.uk"),
        peer="127.0.0.1",
        mail_from="b@co.uk",
    )
    assert (verdict.spf.result, verdict.dmarc) == ("pass", "fail")


async def test_a_revoked_key_fails(judge, world):
    world.publish_customer()
    octets = world.signed(world.message())
    world.write(
        "customer.test",
        '_dmarc TXT "v=DMARC1; p=reject"',
        'sb1._domainkey TXT "v=DKIM1; k=rsa; p="',
    )
    verdict = await verdict_on(judge, world, octets)
    assert verdict.dkim[0].result in ("fail", "permerror")
    assert verdict.dmarc == "fail"


async def test_a_key_that_cannot_be_looked_up_is_a_temporary_error(judge, world):
    world.publish_customer()
    world.write_file(
        "faults.toml",
        '[[fault]]\nname = "sb1._domainkey.customer.test"\nanswer = "servfail"\n',
    )
    verdict = await verdict_on(judge, world, world.signed(world.message()))
    assert (verdict.dkim[0].result, verdict.dmarc) == ("temperror", "temperror")


async def test_without_a_record_the_result_is_none_yet_alignment_is_told(judge, world):
    world.write("plain.test", '@ TXT "v=spf1 ip4:127.0.0.1 -all"')
    octets = world.message("ann@plain.test")
    verdict = await verdict_on(
        judge, world, octets, peer="127.0.0.1", mail_from="ann@plain.test"
    )
    assert (verdict.dmarc, verdict.aligned) == ("none", True)
    assert not (await verdict_on(judge, world, octets, mail_from="")).aligned


async def test_two_dmarc_records_are_none(judge, world):
    world.write(
        "plain.test", '_dmarc TXT "v=DMARC1; p=none"', '_dmarc TXT "v=DMARC1; p=reject"'
    )
    verdict = await verdict_on(judge, world, world.message("ann@plain.test"))
    assert verdict.dmarc == "none"


async def test_the_null_reverse_path_is_judged_by_helo(judge, world):
    world.publish_customer()
    world.write("esp.test", 'out TXT "v=spf1 ip4:127.0.0.1 -all"')
    verdict = await verdict_on(
        judge, world, world.message(), peer="127.0.0.1", mail_from=""
    )
    assert verdict.spf.domain == "out.esp.test"
    assert (verdict.spf.result, verdict.spf.helo) == ("pass", "pass")
    assert verdict.dmarc == "fail"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n",
        b" leading: space\r\n\r\n",
        b"no colon\r\n\r\n",
        b"Subject: no author\r\n\r\n",
        b"From: a@x.test\r\nFrom: b@y.test\r\n\r\n",
        b"From: a@x.test, b@y.test\r\n\r\n",
        b"From: \xff\xfe@\xff\r\n\r\n",
        b"From: a@" + b"x" * 300 + b".test\r\n\r\n",
    ],
)
async def test_a_message_without_one_author_is_a_permanent_error(judge, world, octets):
    world.publish_customer()
    verdict = await verdict_on(judge, world, octets, peer="127.0.0.1")
    assert (verdict.dmarc, verdict.author_domain) == ("permerror", "")
    assert not verdict.aligned


@pytest.mark.parametrize(
    "field",
    [
        b"DKIM-Signature: rubbish\r\n",
        b"DKIM-Signature: v=1; v=1\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=customer.test; s=sb1; h=from; bh=%; b=%\r\n",
        b"DKIM-Signature: v=1; a=x; d=\xff; s=\xff; h=from; bh=YQ==; b=YQ==\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=..; s=..; h=from; bh=YQ==; b=YQ==\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=customer.test; s=sb1; h=from; c=odd/odd;"
        b" bh=YQ==; b=YQ==\r\n",
    ],
)
async def test_a_broken_signature_neither_passes_nor_raises(judge, world, field):
    world.publish_customer()
    verdict = await verdict_on(judge, world, field + world.message())
    assert verdict.dkim[0].result in ("fail", "permerror")
    assert verdict.dmarc == "fail"


async def test_no_more_than_ten_signatures_are_judged(judge, world):
    world.publish_customer()
    octets = b"DKIM-Signature: v=1\r\n" * 11 + world.signed(world.message())
    assert len((await verdict_on(judge, world, octets)).dkim) == 10


def test_the_spf_result_that_counts_is_the_one_of_the_reverse_path():
    verdict = Verdict()
    assert replace(verdict.spf, mail_from="fail", helo="pass").result == "fail"


async def test_a_verdict_says_what_decided(judge, world):
    world.publish_customer()
    failed = await verdict_on(judge, world, world.message())
    assert failed.spf.reason == "127.0.0.66 by v=spf1 ip4:127.0.0.1 -all"
    assert failed.dmarc_reason == (
        "nothing passes that aligns with customer.test: "
        "SPF fail of bounce.customer.test, no DKIM signature"
    )
    passed = await verdict_on(judge, world, world.signed(world.message()))
    assert passed.dmarc_reason == "DKIM d=customer.test aligns with customer.test"
    assert passed.aligned_by == ("DKIM d=customer.test",)


async def test_a_verdict_says_why_there_is_no_policy_to_go_by(judge, world):
    world.publish_customer()
    octets = world.message("a@sub.other.test")
    assert (await verdict_on(judge, world, octets)).dmarc_reason == (
        "no record at _dmarc.sub.other.test nor at _dmarc.other.test"
    )
    world.write(
        "customer.test", '_dmarc TXT "v=DMARC1; p=none"', '_dmarc TXT "v=DMARC1;"'
    )
    reason = (await verdict_on(judge, world, world.message())).dmarc_reason
    assert reason == "2 records at _dmarc.customer.test: none counts"
    world.write("customer.test", '_dmarc TXT "v=DMARC1; p=perhaps"')
    verdict = await verdict_on(judge, world, world.message())
    assert (verdict.dmarc, verdict.dmarc_reason) == (
        "permerror",
        "not a record: v=DMARC1; p=perhaps",
    )
