"""What resolvers remember of a record that was mended, and what their silence says."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Fault, RecordCheck, RecordStatus
from soboo_mta.mail.domain import Domain
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.dns.resolver import DnsResolver, each_resolver
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from soboo_mta.ports import RecordType
from tests.interop.faulty_zones import OPERATOR, SERVER, Case, Change, instead, zones
from tests.interop.zone_servers import SILENT, ZoneServers, zone_servers

_TTL = 300


def _case(name: str, customer: Change) -> Case:
    """A domain of that name, as it was before it was mended."""
    return Case(
        fault=Fault.NONE,
        at="sb1._domainkey",
        customer=customer,
        says=name,
    )


_STALE = _case(
    "stale",
    instead("sb1._domainkey", "sb1._domainkey.{zone}. IN CNAME s1.hosting.test."),
)
_COPIED = _case(
    "copied",
    instead("sb1._domainkey", 'sb1._domainkey.{zone}. IN TXT "v=DKIM1; p=AAAA"'),
)
_ABSENT = _case("absent", instead("sb1._domainkey"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZoneServers]:
    files = _files(_STALE, _COPIED, _ABSENT)
    with zone_servers(tmp_path_factory.mktemp("caches"), files) as running:
        yield running


def _files(*cases: Case, serial: int = 1) -> dict[str, dict[str, str]]:
    """The zones of `cases`, with TTLs that no test outlives."""
    return {
        address: {
            origin: text.replace("$TTL 60", f"$TTL {_TTL}").replace(
                " 1 3600 600 1209600 5", f" {serial} 3600 600 1209600 {_TTL}"
            )
            for origin, text in files.items()
        }
        for address, files in zones(cases).items()
        if files
    }


async def _look(
    case: Case, servers: ZoneServers, before: tuple[RecordCheck, ...] | None = None
) -> CheckResult:
    """A person's look; with `before`, the monitor's."""
    options, clock = servers.options, SystemClock()
    recursive = DnsResolver(options=options, clock=clock)
    check = DomainCheck(
        resolver=AuthoritativeResolver(recursive=recursive, options=options),
        operator=OPERATOR,
        suffixes=SuffixList(),
        clock=clock,
        options=CheckOptions(),
        authority=DnsAuthority(recursive=recursive, options=options),
        resolvers=each_resolver(options, clock),
    )
    return await check.check(
        case.settings, None, before or (), is_thorough=before is None
    )


def _sb1(result: CheckResult, case: Case) -> RecordCheck:
    return next(c for c in result.checks if c.record.owner == case.owner)


async def _mended(case: Case, servers: ZoneServers) -> None:
    """A receiver's resolver asks, then the customer mends the record."""
    resolver = DnsResolver(options=servers.options, clock=SystemClock())
    await resolver.lookup(case.owner, RecordType.TXT)
    good = replace(case, customer=lambda place, lines: lines)
    text = _files(good, serial=2)[SERVER][case.zone]
    servers.change(SERVER, case.zone, text)


@pytest.mark.parametrize(
    ("case", "fault", "what"),
    [
        (_STALE, Fault.STALE_CACHE, "remember CNAME s1.hosting.test. until"),
        (_COPIED, Fault.STALE_CACHE, "remember v=DKIM1; p=AAAA until"),
        (_ABSENT, Fault.NEGATIVE_CACHE, "remember that it does not exist until"),
    ],
    ids=["stale", "copied", "absent"],
)
async def test_what_a_resolver_remembers_is_told_with_its_end_and_leaves_it_good(
    case: Case, fault: Fault, what: str, servers: ZoneServers
) -> None:
    await _mended(case, servers)

    result = await _look(case, servers)

    check = _sb1(result, case)
    assert {c.fault for c in result.checks} == {Fault.NONE, fault}
    assert (check.status, check.fault) == (RecordStatus.GOOD, fault)
    assert what in check.cause
    assert result.all_good
    assert case.settings.keys[0].key_id in result.facts.usable
    assert _ends_in_time(check.cause)

    # The monitor asks on, as long as it is so.
    again = await _look(case, servers, result.checks)
    assert _sb1(again, case).fault is fault


def _ends_in_time(cause: str) -> bool:
    """Whether the end that is named lies within the TTL from now."""
    said = re.search(r"until about (\d\d:\d\d) UTC", cause)
    now = datetime.now(UTC)
    minutes = {
        f"{now + timedelta(seconds=seconds):%H:%M}" for seconds in range(_TTL + 1)
    }
    return said is not None and said[1] in minutes


async def test_servfail_is_no_answer_and_never_a_missing_record(
    servers: ZoneServers,
) -> None:
    options = replace(servers.options, timeout=timedelta(seconds=5))
    recursive = DnsResolver(options=options, clock=SystemClock())
    check = DomainCheck(
        resolver=recursive,
        operator=OPERATOR,
        suffixes=SuffixList(),
        clock=SystemClock(),
        options=CheckOptions(),
    )
    settings = replace(_STALE.settings, name=Domain(SILENT))

    result = await check.check(settings, None, ())

    assert {c.status for c in result.checks} == {RecordStatus.UNKNOWN}
    assert {c.fault for c in result.checks} == {Fault.NO_ANSWER}
    assert all("SERVFAIL" in c.cause for c in result.checks), result.checks
