"""Records that are broken, on a real name server: each has its own diagnosis, and no other.

Knot serves the zones of all cases, their parent and the operator's; Unbound resolves.
"""

from collections.abc import Iterator

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.dns.questions import ResolverOptions
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from tests.interop.faulty_zones import CASES, OPERATOR, SERVER, Case, zones
from tests.interop.zone_servers import zone_servers

_ELSEWHERE = {  # shown where their servers are: test_broken_zones*.py
    Fault.NONE,
    Fault.SPLIT_SERVERS,
    Fault.LAME_SERVERS,
    Fault.BOGUS,
    Fault.ORPHAN_DS,
    Fault.STALE_CACHE,
    Fault.NEGATIVE_CACHE,
    Fault.NO_ANSWER,
    Fault.DMARC_WITHOUT_US,
    Fault.OPERATOR_REPORTS,
    Fault.OPERATOR_HOST,  # of hosts that a test has to listen at: unit tests
}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResolverOptions]:
    """How the servers of all cases are asked, while they run."""
    with zone_servers(tmp_path_factory.mktemp("zones"), zones(CASES)) as servers:
        yield servers.options


async def _look(case: Case, options: ResolverOptions) -> CheckResult:
    recursive = DnsResolver(options=options, clock=SystemClock())
    check = DomainCheck(
        resolver=AuthoritativeResolver(recursive=recursive, options=options),
        operator=OPERATOR,
        suffixes=SuffixList(),
        clock=SystemClock(),
        options=CheckOptions(),
        authority=DnsAuthority(recursive=recursive, options=options),
    )
    return await check.check(case.settings, None, ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.zone)
async def test_a_broken_record_has_its_own_diagnosis_and_no_other(
    case: Case, options: ResolverOptions
) -> None:
    result = await _look(case, options)

    seen = {c.record.owner: c for c in result.checks if c.fault is not Fault.NONE}
    found = {owner: check.fault for owner, check in seen.items()}
    assert set(found.values()) - case.besides == {case.fault}, found
    if case.is_registered:
        assert [o for o, fault in found.items() if fault is case.fault] == [case.owner]
    check = seen[case.owner]
    assert check.status is case.status, check
    assert check.cause
    assert case.says in check.cause
    assert check.mend
    if case.is_registered:
        assert check.server == SERVER


async def test_a_whole_domain_has_no_fault(options: ResolverOptions) -> None:
    """What the cases begin with is good: else they would show nothing."""
    for case in CASES:
        if case.fault in (Fault.DMARC_REPORTS, Fault.WRAPPED_KEY):
            result = await _look(case, options)
            assert result.all_good
            statuses = {check.status for check in result.checks}
            assert statuses == {RecordStatus.GOOD}


def test_no_case_takes_the_zone_of_another() -> None:
    assert len({case.zone for case in CASES}) == len(CASES)


def test_every_fault_is_shown_on_a_real_server() -> None:
    assert {case.fault for case in CASES} | _ELSEWHERE == set(Fault)
