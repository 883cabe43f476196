"""Whether DMARC reports on a domain come to us, asked of a real name server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.dns.questions import ResolverOptions
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from tests.interop.faulty_zones import (
    OPERATOR,
    Case,
    Lines,
    Place,
    dmarc_as,
    txt,
    zones,
)
from tests.interop.zone_servers import zone_servers

_US = "dmarc@esp.test"
_NAMES_US = f"v=DMARC1; p=none; rua=mailto:{_US}"


def _taken(place: Place, lines: Lines) -> Lines:
    """Our zone takes reports on the customer's domain."""
    return [*lines, f"{place.zone}._report._dmarc.esp.test. IN TXT {txt('v=DMARC1')}"]


CASES = (
    Case(
        fault=Fault.DMARC_WITHOUT_US,
        at="_dmarc",
        customer=dmarc_as("v=DMARC1; p=none"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.OPERATOR_REPORTS,
        at="_dmarc",
        customer=dmarc_as(_NAMES_US),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.DMARC_MISSING,
        at="_dmarc",
        customer=dmarc_as(),
        status=RecordStatus.MISSING,
        says="nobody reports",
    ),
    Case(
        fault=Fault.NONE,
        at="_dmarc",
        customer=dmarc_as(_NAMES_US),
        operator=_taken,
        status=RecordStatus.GOOD,
        says="whole",
    ),
)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResolverOptions]:
    filled = {server: files for server, files in zones(CASES).items() if files}
    with zone_servers(tmp_path_factory.mktemp("zones"), filled) as servers:
        yield servers.options


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.zone)
async def test_it_is_known_whether_reports_come_to_us_and_what_lacks(
    case: Case, options: ResolverOptions
) -> None:
    recursive = DnsResolver(options=options, clock=SystemClock())
    check = DomainCheck(
        resolver=AuthoritativeResolver(recursive=recursive, options=options),
        operator=replace(OPERATOR, dmarc_reports=parse_mailbox(_US)),
        suffixes=SuffixList(),
        clock=SystemClock(),
        options=CheckOptions(),
        authority=DnsAuthority(recursive=recursive, options=options),
    )
    found = (await check.check(case.settings, None, ())).reports

    assert found is not None
    assert (found.status, found.fault) == (case.status, case.fault)
    assert bool(found.cause) == bool(found.mend) == (case.fault is not Fault.NONE)
