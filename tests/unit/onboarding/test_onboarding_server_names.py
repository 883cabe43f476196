"""EHLO names of ours under a customer's domain: what is asked for, and how it is judged."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    DomainSettings,
    Fault,
    Mode,
    Purpose,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from soboo_mta.ports import RecordType
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, OUT_1, SETTINGS, published

_NAME = "mta1.customer.com"
_SOURCE = replace(
    OUT_1, ehlo_name=Domain(_NAME), public_address=ip_address("192.0.2.77")
)
_OPERATOR = replace(OPERATOR, sources=(_SOURCE,))
_SPF = "v=spf1 ip4:192.0.2.77 -all"


def asked(settings: DomainSettings) -> list[tuple[str, str, str]]:
    return [
        (record.owner, record.kind, record.value)
        for record in required_records(settings, _OPERATOR)
        if record.purpose is Purpose.HELO
    ]


def test_an_ehlo_name_in_the_customers_zone_is_asked_for() -> None:
    assert asked(SETTINGS) == [(_NAME, "A", "192.0.2.77"), (_NAME, "TXT", _SPF)]


def test_names_elsewhere_and_in_a_zone_of_ours_are_not() -> None:
    assert asked(replace(SETTINGS, name=Domain("other.com"))) == []
    zone = replace(SETTINGS, mode=Mode.ZONE)
    assert asked(zone) == []  # the whole domain is delegated to us
    assert asked(replace(zone, zone=Domain("em.customer.com"))) != []
    assert asked(replace(zone, zone=Domain(_NAME))) == []


async def look(dns: FakeResolver) -> dict[RecordType, RecordCheck]:
    check = DomainCheck(
        resolver=dns,
        operator=_OPERATOR,
        suffixes=SuffixList(),
        clock=FakeClock(),
        options=CheckOptions(),
    )
    result = await check.check(SETTINGS, None, ())
    return {
        one.record.kind: one
        for one in result.checks
        if one.record.purpose is Purpose.HELO
    }


@pytest.mark.parametrize(
    ("kind", "value", "status", "fault"),
    [
        ("A", "192.0.2.77", RecordStatus.GOOD, Fault.NONE),
        ("A", "192.0.2.9", RecordStatus.WRONG, Fault.WRONG_VALUE),
        ("TXT", _SPF, RecordStatus.GOOD, Fault.NONE),
        ("TXT", "v=spf1 -all", RecordStatus.WRONG, Fault.WRONG_VALUE),
    ],
)
async def test_a_server_name_is_judged_by_what_it_leads_to(
    kind: str, value: str, status: RecordStatus, fault: Fault
) -> None:
    dns = published(SETTINGS, operator=_OPERATOR)
    dns.remove(_NAME)
    dns.add(_NAME, kind, value)
    check = (await look(dns))[RecordType(kind)]
    assert (check.status, check.fault) == (status, fault)


async def test_what_lacks_and_what_is_silent_are_told_apart() -> None:
    dns = published(SETTINGS, operator=_OPERATOR)
    dns.remove(_NAME)
    missing = await look(dns)
    dns.silent.add(_NAME)
    silent = await look(dns)
    for kind in (RecordType.A, RecordType.TXT):
        assert missing[kind].status is RecordStatus.MISSING
        assert missing[kind].fault is Fault.NO_NAME
        assert silent[kind].status is RecordStatus.UNKNOWN
