"""Records that are broken, on a real name server: each has its own diagnosis, and no other.

Knot serves the zones of all cases, their parent and the operator's; Unbound resolves.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.net.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.questions import ResolverOptions
from soboo_mta.net.resolver import DnsResolver
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from tests.interop.faulty_zones import CASES, OPERATOR, SERVER, Case, zones

_RESOLVER = "127.0.7.9"
_ELSEWHERE = {  # shown where their servers are: test_broken_zones*.py
    Fault.NONE,
    Fault.SPLIT_SERVERS,
    Fault.LAME_SERVERS,
    Fault.BOGUS,
    Fault.ORPHAN_DS,
    Fault.STALE_CACHE,
    Fault.NEGATIVE_CACHE,
    Fault.NO_ANSWER,
}
_KNOT = """\
server:
    listen: {address}@{port}
    rundir: "{home}"
database:
    storage: "{home}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{home}"
    file: "%s.zone"
    zonefile-sync: -1
zone:
"""
_UNBOUND = """\
server:
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: {resolver}@{port}
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "test." nodefault
remote-control:
    control-enable: no
"""
_STUB = """\
stub-zone:
    name: "{origin}"
    stub-addr: {server}@{knot}
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResolverOptions]:
    """How the servers of all cases are asked, while they run."""
    home = tmp_path_factory.mktemp("zones")
    knot, unbound = free_ports(2)
    text, servers = "", []
    for address, files in zones(CASES).items():
        text += _written(home / address, address, knot, files)
        config = str(home / address / "knot.conf")
        servers.append(_started(home / f"{address}.log", "knotd", "-c", config))
    (home / "unbound.conf").write_text(
        _UNBOUND.format(home=home, resolver=_RESOLVER, port=unbound) + text
    )
    config = str(home / "unbound.conf")
    servers.append(_started(home / "unbound.log", "unbound", "-d", "-c", config))
    try:
        for address, port in ((SERVER, knot), (_RESOLVER, unbound)):
            _until_it_answers(address, port, home)
        yield ResolverOptions(
            servers=((ip_address(_RESOLVER), unbound),),
            timeout=timedelta(seconds=2),
            authoritative_port=knot,
        )
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait(20)


def _written(home: Path, address: str, port: int, files: dict[str, str]) -> str:
    """Write the zones and the settings of one Knot; return how Unbound finds it, since a
    delegation does not say on which port its servers listen."""
    home.mkdir()
    config = _KNOT.format(address=address, port=port, home=home)
    stubs = ""
    for origin, text in files.items():
        (home / f"{origin}.zone").write_text(text)
        config += f'  - domain: "{origin}"\n'
        stubs += _STUB.format(origin=origin, server=address, knot=port)
    (home / "knot.conf").write_text(config)
    return stubs


def _started(log: Path, *command: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def _until_it_answers(address: str, port: int, home: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            query = dns.message.make_query("esp.test", "SOA")
            reply = dns.query.udp(query, address, port=port, timeout=0.5)
        except (dns.exception.DNSException, OSError):
            reply = None
        if reply is not None and reply.answer:
            return
        logs = {log.name: log.read_text()[-2_000:] for log in home.glob("*.log")}
        assert time.monotonic() < deadline, logs
        time.sleep(0.05)


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
