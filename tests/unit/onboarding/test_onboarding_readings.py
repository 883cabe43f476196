"""What one look shows of each capability, in each mode."""

from dataclasses import replace

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import required_records
from soboo_mta.identity.standing import Capability, RecordName, Standing
from soboo_mta.identity.state import (
    DomainSettings,
    Fault,
    KeyState,
    Mode,
    Operator,
    Purpose,
    RecordStatus,
)
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from soboo_mta.onboarding.watch.assessment import Before, assess
from soboo_mta.onboarding.watch.readings import Seen, readings, renewed
from soboo_mta.onboarding.watch.states import News, Reading, Timers
from soboo_mta.ports import RecordType
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS, key, published

GOOD, MISSING = RecordStatus.GOOD, RecordStatus.MISSING
REPORT = Capability.REPORT
TAKES = replace(OPERATOR, dmarc_reports=parse_mailbox("dmarc@esp.example"))
TO_US = "v=DMARC1; p=none; rua=mailto:dmarc@esp.example"
WRONG, UNKNOWN = RecordStatus.WRONG, RecordStatus.UNKNOWN
OWNERSHIP, SIGN, AUTHOR = (
    Capability.OWNERSHIP,
    Capability.SIGN,
    Capability.SIGN_AS_AUTHOR,
)
BOUNCE, SPF, DMARC = Capability.BOUNCE, Capability.SPF, Capability.DMARC
MANUAL = replace(SETTINGS, mode=Mode.MANUAL)
BARE = replace(MANUAL, keys=(key(1, "sb1", KeyState.REVOKED),))
ZONE = replace(SETTINGS, mode=Mode.ZONE, zone=Domain("em.customer.com"))
BOX = replace(SETTINGS, mode=Mode.MAILBOX, keys=())


def all_published(settings: DomainSettings) -> FakeResolver:
    """All that the operator and the customer publish."""
    dns = published(settings)
    for record in required_records(settings, OPERATOR):
        dns.add(record.owner, record.kind, record.value)
    return dns


async def look(
    settings: DomainSettings,
    dns: FakeResolver,
    before: CheckResult | None = None,
    operator: Operator = OPERATOR,
) -> CheckResult:
    check = DomainCheck(
        resolver=dns,
        operator=operator,
        suffixes=SuffixList(),
        clock=FakeClock(),
        options=CheckOptions(),
    )
    facts, checks = (before.facts, before.checks) if before else (None, ())
    return await check.check(settings, facts, checks)


def seen(
    settings: DomainSettings, result: CheckResult, *, is_owner: bool | None = None
) -> Seen:
    return Seen(
        settings=settings,
        checks=result.checks,
        facts=result.facts,
        owned=result.owned,
        is_owner=result.owned if is_owner is None else is_owner,
        reports=result.reports,
    )


def capabilities(one: Seen) -> dict[Capability, RecordStatus]:
    return {
        reading.subject: reading.status
        for reading in readings(one)
        if isinstance(reading.subject, Capability)
    }


@pytest.mark.parametrize(
    ("settings", "needed", "wished"),
    [
        (SETTINGS, {OWNERSHIP, SIGN, BOUNCE}, {DMARC}),
        (MANUAL, {OWNERSHIP, SIGN}, {SPF, DMARC}),
        (ZONE, {OWNERSHIP, SIGN, BOUNCE}, {AUTHOR, DMARC}),
        (BOX, {OWNERSHIP}, {DMARC}),
    ],
)
async def test_each_mode_has_its_capabilities_and_all_are_good_when_all_is_published(
    settings: DomainSettings, needed: set[Capability], wished: set[Capability]
) -> None:
    one = seen(settings, await look(settings, all_published(settings)))
    assert capabilities(one) == dict.fromkeys(needed | wished, GOOD)
    required = {
        reading.subject
        for reading in readings(one)
        if reading.is_required and isinstance(reading.subject, Capability)
    }
    assert required == needed
    records = {r.subject for r in readings(one) if isinstance(r.subject, RecordName)}
    wanted = required_records(settings, OPERATOR)
    assert records == {RecordName(record.owner, record.kind) for record in wanted}


async def test_without_keys_spf_is_needed_in_mode_manual() -> None:
    one = seen(BARE, await look(BARE, all_published(BARE)))
    spf = next(reading for reading in readings(one) if reading.subject is SPF)
    sign = next(reading for reading in readings(one) if reading.subject is SIGN)
    assert (spf.status, spf.is_required) == (GOOD, True)
    assert (sign.status, sign.is_required) == (MISSING, False)


async def test_nothing_published_is_missing_not_silent() -> None:
    one = seen(SETTINGS, await look(SETTINGS, published(SETTINGS)))
    assert capabilities(one) == dict.fromkeys((OWNERSHIP, SIGN, BOUNCE, DMARC), MISSING)
    assert all(reading.cause for reading in readings(one) if not reading.is_good)


async def test_no_answer_is_unknown_though_the_last_known_good_still_signs() -> None:
    dns = all_published(SETTINGS)
    before = await look(SETTINGS, dns)
    dns.silent |= {record.owner for record in required_records(SETTINGS, OPERATOR)}
    result = await look(SETTINGS, dns, before)
    assert result.facts.usable == before.facts.usable
    assert set(capabilities(seen(SETTINGS, result)).values()) == {UNKNOWN}


async def test_a_second_key_keeps_the_domain_signing_while_one_record_is_wrong() -> (
    None
):
    dns = all_published(SETTINGS)
    dns.replace("sb1._domainkey.customer.com", "CNAME", "elsewhere.example.")
    one = seen(SETTINGS, await look(SETTINGS, dns))
    assert capabilities(one)[SIGN] is GOOD
    by_subject = {reading.subject: reading for reading in readings(one)}
    name = RecordName(DnsName("sb1._domainkey.customer.com"), RecordType.CNAME)
    assert by_subject[name].status is WRONG
    dns.replace("sb2._domainkey.customer.com", "CNAME", "elsewhere.example.")
    one = seen(SETTINGS, await look(SETTINGS, dns))
    assert capabilities(one)[SIGN] is WRONG  # the third slot is free: no key is behind


async def test_a_silent_record_of_one_key_does_not_hide_the_other_that_answers() -> (
    None
):
    dns = all_published(SETTINGS)
    dns.silent.add("sb1._domainkey.customer.com")
    one = seen(SETTINGS, await look(SETTINGS, dns))
    assert capabilities(one)[SIGN] is GOOD
    dns.remove("sb2._domainkey.customer.com")
    one = seen(SETTINGS, await look(SETTINGS, dns))
    assert capabilities(one)[SIGN] is UNKNOWN  # what was not heard may be good


async def test_a_zone_delegated_to_us_that_serves_no_key_can_not_sign() -> None:
    dns = all_published(ZONE)
    for selector in ("sb1", "sb2"):
        dns.remove(f"{selector}._domainkey.em.customer.com")
    one = seen(ZONE, await look(ZONE, dns))
    assert capabilities(one) == {
        OWNERSHIP: GOOD,
        SIGN: MISSING,
        BOUNCE: GOOD,
        AUTHOR: WRONG,
        DMARC: GOOD,
    }


async def test_a_name_that_is_anothers_is_not_owned_by_a_second_proof() -> None:
    result = await look(SETTINGS, all_published(SETTINGS))
    one = seen(SETTINGS, result, is_owner=False)
    assert capabilities(one)[OWNERSHIP] is WRONG
    assert "another tenant's" in readings(one)[0].cause


async def test_another_value_asked_for_makes_a_record_begin_anew() -> None:
    before = await look(MANUAL, all_published(MANUAL))
    rotated = replace(MANUAL, keys=(key(9, "sb1"), key(2, "sb2", KeyState.NEXT)))
    after = await look(rotated, published(rotated))
    name = RecordName(DnsName("sb1._domainkey.customer.com"), RecordType.TXT)
    assert renewed(before.checks, after.checks) == {name}


async def test_a_domain_of_an_earlier_release_is_no_news_until_something_breaks() -> (
    None
):
    dns = all_published(SETTINGS)
    first = await look(SETTINGS, dns)
    before = Before(
        conditions=(), checks=first.checks, facts=first.facts, was_owner=True
    )
    again = await look(SETTINGS, dns, first)
    calm = assess(before, seen(SETTINGS, again), Timers(), now=10)
    assert calm.moves == ()
    assert {one.standing for one in calm.conditions} == {Standing.VERIFIED}
    assert calm.wait is None
    dns.remove("bounce.customer.com")
    broken = await look(SETTINGS, dns, again)
    found = assess(before, seen(SETTINGS, broken), Timers(), now=10)
    assert {(str(move.subject), move.news) for move in found.moves} == {
        ("can_bounce", News.AT_RISK),
        ("bounce.customer.com CNAME", News.AT_RISK),
    }
    assert found.wait == Timers().soonest
    assert all(move.cause for move in found.moves)


# ---- reports to us


def reporting(one: Seen) -> Reading | None:
    found = [reading for reading in readings(one) if reading.subject is REPORT]
    assert all(not reading.is_required for reading in found)
    return found[0] if found else None


def dmarc_dns(text: str, *, agreed: str = "customer.com") -> FakeResolver:
    dns = all_published(SETTINGS)
    dns.replace("_dmarc.customer.com", "TXT", text)
    dns.add(f"{agreed}._report._dmarc.esp.example", "TXT", "v=DMARC1")
    return dns


async def test_where_we_take_no_reports_none_are_asked_for() -> None:
    one = await look(SETTINGS, dmarc_dns(TO_US))
    assert one.reports is None
    assert reporting(seen(SETTINGS, one)) is None


@pytest.mark.parametrize(
    "text",
    [
        TO_US,
        "v=DMARC1;p=reject;rua=mailto:a@else.example, mailto:DMARC@ESP.example!10m",
        "v=DMARC1; p=none; rua=mailto:%64marc@esp.example",
        "v=DMARC1; rua=mailto:dmarc@esp.example",  # p=none is made up for it
    ],
)
async def test_reports_that_the_record_sends_to_us_and_we_take_are_good(
    text: str,
) -> None:
    one = seen(SETTINGS, await look(SETTINGS, dmarc_dns(text), operator=TAKES))
    found = reporting(one)
    assert found is not None
    assert (found.status, found.fault, found.cause) == (GOOD, Fault.NONE, "")


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("v=DMARC1; p=none", Fault.DMARC_WITHOUT_US, "does not name dmarc@esp.example"),
        (
            "v=DMARC1; p=none; rua=mailto:other@esp.example",
            Fault.DMARC_WITHOUT_US,
            "in its rua=",
        ),
        (
            "v=DMARC1; p=none; ruf=mailto:dmarc@esp.example",
            Fault.DMARC_WITHOUT_US,
            "_dmarc.customer.com",
        ),
        ("v=DMARC1; p=all", Fault.DMARC_MISSING, "nobody reports"),
        ("v=spf1 -all", Fault.DMARC_MISSING, "nobody reports"),
    ],
)
async def test_reports_that_go_elsewhere_or_nowhere_are_missing(
    text: str, fault: Fault, words: str
) -> None:
    result = await look(SETTINGS, dmarc_dns(text), operator=TAKES)
    found = reporting(seen(SETTINGS, result))
    assert found is not None
    assert (found.status, found.fault) == (MISSING, fault)
    assert words in found.cause
    assert result.reports is not None
    assert "soboo-mta domain records customer.com" in result.reports.mend
    assert result.all_good  # it is recommended


async def test_reports_that_our_own_zone_does_not_take_are_not_sent() -> None:
    dns = dmarc_dns(TO_US, agreed="another.com")
    result = await look(SETTINGS, dns, operator=TAKES)
    found = reporting(seen(SETTINGS, result))
    assert found is not None
    assert (found.status, found.fault) == (MISSING, Fault.OPERATOR_REPORTS)
    assert result.reports is not None
    wanted = 'customer.com._report._dmarc.esp.example TXT "v=DMARC1"'
    assert wanted in result.reports.mend


@pytest.mark.parametrize(
    "name", ["_dmarc.customer.com", "customer.com._report._dmarc.esp.example"]
)
async def test_of_reports_nothing_is_known_without_an_answer(name: str) -> None:
    dns = dmarc_dns(TO_US)
    dns.silent.add(name)
    found = reporting(seen(SETTINGS, await look(SETTINGS, dns, operator=TAKES)))
    assert found is not None
    assert (found.status, found.fault) == (UNKNOWN, Fault.NO_ANSWER)


async def test_a_name_above_may_be_silent_where_the_domain_has_a_record() -> None:
    dns = dmarc_dns(TO_US)
    dns.silent.add("_dmarc.com")
    found = reporting(seen(SETTINGS, await look(SETTINGS, dns, operator=TAKES)))
    assert found is not None
    assert found.status is GOOD


async def test_the_record_of_the_organization_applies_below_it() -> None:
    below = replace(SETTINGS, name=Domain("mail.shop.customer.com"))
    dns = all_published(below)
    dns.remove("_dmarc.mail.shop.customer.com")
    dns.add("_dmarc.customer.com", "TXT", TO_US)
    dns.add("_dmarc.shop.customer.com", "TXT", "v=DMARC1; p=none")  # it does not apply
    dns.add("customer.com._report._dmarc.esp.example", "TXT", "v=DMARC1")
    result = await look(below, dns, operator=TAKES)
    found = reporting(seen(below, result))
    assert found is not None
    assert found.status is GOOD
    (dmarc,) = [one for one in result.checks if one.record.purpose is Purpose.DMARC]
    assert dmarc.found == f"_dmarc.customer.com {TO_US}"


async def test_within_our_own_organization_nobody_has_to_agree() -> None:
    ours = replace(SETTINGS, name=Domain("news.esp.example"))
    dns = all_published(ours)
    dns.replace("_dmarc.news.esp.example", "TXT", TO_US)
    found = reporting(seen(ours, await look(ours, dns, operator=TAKES)))
    assert found is not None
    assert found.status is GOOD
    assert not any("_report." in name for name, _ in dns.asked)
