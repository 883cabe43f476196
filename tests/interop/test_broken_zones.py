"""Zones that are broken themselves, on real servers: each fault has its own diagnosis.

Knot serves a parent zone and, twice, the customer's; Unbound resolves and validates.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import pytest

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.identity.state import Fault, Purpose, RecordStatus, RequiredRecord
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.dns.questions import ResolverOptions
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.looking.delegation import ZoneDoctor
from soboo_mta.ports import Delegation, Found, RecordType, Unanswered
from tests.interop.running import running

_PARENT, _ONE, _TWO, _RESOLVER = "127.0.6.1", "127.0.6.2", "127.0.6.3", "127.0.6.9"
_ZONE = "customer.test"
_NAME = f"sb1._domainkey.{_ZONE}"
_RIGHT = f"{_NAME}. CNAME sb1.tok.k.esp.test."
_RECORD = RequiredRecord(
    owner=DnsName(_NAME),
    kind=RecordType.CNAME,
    value="sb1.tok.k.esp.test.",
    purpose=Purpose.SELECTOR,
    selector=DnsName("sb1"),
)
_HEAD = """\
$ORIGIN {origin}.
$TTL 60
@ SOA ns1.{origin}. h.{origin}. 1 3600 600 1209600 5
"""
_DELEGATED = (
    f"{_ZONE}. NS ns1.{_ZONE}.",
    f"{_ZONE}. NS ns2.{_ZONE}.",
    f"ns1.{_ZONE}. A {_ONE}",
    f"ns2.{_ZONE}. A {_TWO}",
)
_DS = f"{_ZONE}. DS 4711 13 2 {'ab' * 32}"  # of a key that nobody has
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
    zonefile-load: difference-no-serial
    journal-content: all
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
    module-config: "validator iterator"
    domain-insecure: "esp.test"
    local-zone: "test." nodefault
    {anchor}
remote-control:
    control-enable: no
stub-zone:
    name: "test"
    stub-addr: {parent}@{knot}
stub-zone:
    name: "customer.test"
    stub-addr: {one}@{knot}
    stub-addr: {two}@{knot}
"""


@dataclass
class Zones:
    """What each server has: lines by address; None: it does not know the zone."""

    parent: tuple[str, ...] = _DELEGATED
    one: tuple[str, ...] | None = (_RIGHT,)
    two: tuple[str, ...] | None = (_RIGHT,)
    is_parent_signed: bool = False
    is_child_signed: bool = False
    servers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """The look from outside."""

    authority: DnsAuthority
    resolver: AuthoritativeResolver

    async def explained(self, status: RecordStatus) -> Finding:
        plain = Finding(status=status, cause="what the record alone tells")
        return await ZoneDoctor(self.authority).explained(_RECORD, plain)


@asynccontextmanager
async def served(directory: Path, zones: Zones) -> AsyncIterator[Seen]:
    """The servers of `zones`, and a resolver before them."""
    knot, unbound = free_ports(2)
    async with AsyncExitStack() as stack:
        child = zones.is_child_signed
        for address, origin, lines, is_signed in (
            (_PARENT, "test", zones.parent, zones.is_parent_signed),
            (_ONE, _ZONE, zones.one, child),
            (_TWO, _ZONE, zones.two, child),
        ):
            home = directory / address
            home.mkdir()
            text = _KNOT.format(address=address, port=knot, home=home)
            if lines is not None:
                text += _zone(home, origin, lines, is_signed=is_signed)
            (home / "knot.conf").write_text(text)
            command = ("knotd", "-c", str(home / "knot.conf"))
            await stack.enter_async_context(running(*command, log=home / "log"))
            await _until_it_answers(address, knot, origin if lines is not None else ".")
        anchor = await _anchor(knot) if zones.is_parent_signed else ""
        config = directory / "unbound.conf"
        config.write_text(
            _UNBOUND.format(
                home=directory,
                resolver=_RESOLVER,
                port=unbound,
                anchor=anchor,
                parent=_PARENT,
                one=_ONE,
                two=_TWO,
                knot=knot,
            )
        )
        command = ("unbound", "-d", "-c", str(config))
        await stack.enter_async_context(running(*command, log=directory / "log"))
        await _until_it_answers(_RESOLVER, unbound, "test")
        options = ResolverOptions(
            servers=((ip_address(_RESOLVER), unbound),),
            timeout=timedelta(seconds=2),
            authoritative_port=knot,
        )
        recursive = DnsResolver(options=options, clock=SystemClock())
        yield Seen(
            DnsAuthority(recursive=recursive, options=options),
            AuthoritativeResolver(recursive=recursive, options=options),
        )


async def test_a_zone_that_is_well_is_left_to_its_records(tmp_path: Path) -> None:
    async with served(tmp_path, Zones()) as seen:
        found = await seen.explained(RecordStatus.WRONG)
        assert found == Finding(
            status=RecordStatus.WRONG, cause="what the record alone tells"
        )
        answers = await seen.authority.each(_NAME, RecordType.CNAME)
        assert not isinstance(answers, Unanswered)
        assert {one.server for one in answers} == {f"ns1.{_ZONE}", f"ns2.{_ZONE}"}
        assert all(isinstance(one.answer, Found) for one in answers)


@pytest.mark.parametrize(
    "other", [(), (f"{_NAME}. CNAME s1.u1.wl.other.test.",), (f'{_NAME}. TXT "x"',)]
)
async def test_servers_that_disagree_are_named_with_what_each_says(
    tmp_path: Path, other: tuple[str, ...]
) -> None:
    async with served(tmp_path, Zones(two=other)) as seen:
        found = await seen.explained(RecordStatus.MISSING)
    assert found.fault is Fault.SPLIT_SERVERS
    assert f"ns1.{_ZONE} says sb1.tok.k.esp.test" in found.cause
    assert f"ns2.{_ZONE} says" in found.cause


async def test_servers_that_do_not_have_the_zone_are_lame(tmp_path: Path) -> None:
    async with served(tmp_path, Zones(one=None, two=None)) as seen:
        found = await seen.explained(RecordStatus.UNKNOWN)
        # The zone above is right all the same: that is what a new zone looks like.
        delegation = await seen.authority.delegation(_ZONE)
    assert delegation == Delegation(
        (DnsName(f"ns1.{_ZONE}"), DnsName(f"ns2.{_ZONE}")), False
    )
    assert found.fault is Fault.LAME_SERVERS
    assert f"ns1.{_ZONE}, ns2.{_ZONE}" in found.cause


async def test_one_lame_server_of_two_does_not_hide_what_the_other_says(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, Zones(two=None)) as seen:
        answer = await seen.resolver.lookup(_NAME, RecordType.CNAME)
        assert isinstance(answer, Found)
        found = await seen.explained(RecordStatus.WRONG)
    assert found.fault is Fault.NONE


async def test_what_is_not_delegated_has_no_servers(tmp_path: Path) -> None:
    async with served(tmp_path, Zones()) as seen:
        assert await seen.authority.delegation("other.test") == Delegation((), False)
        below = await seen.authority.delegation(f"em.{_ZONE}")
        assert below == Delegation((), False)


async def test_a_ds_of_a_zone_that_is_not_signed_is_an_orphan(tmp_path: Path) -> None:
    zones = Zones(parent=(*_DELEGATED, _DS), is_parent_signed=True)
    async with served(tmp_path, zones) as seen:
        found = await seen.explained(RecordStatus.UNKNOWN)
    assert found.fault is Fault.ORPHAN_DS, found
    assert f"remove the DS records of {_ZONE}" in found.mend


async def test_a_ds_of_another_key_makes_the_zone_bogus(tmp_path: Path) -> None:
    zones = Zones(
        parent=(*_DELEGATED, _DS), is_parent_signed=True, is_child_signed=True
    )
    async with served(tmp_path, zones) as seen:
        found = await seen.explained(RecordStatus.UNKNOWN)
    assert found.fault is Fault.BOGUS, found
    assert f"DNSSEC of {_ZONE} is broken" in found.cause


# ---- servers


def _zone(home: Path, origin: str, lines: tuple[str, ...], *, is_signed: bool) -> str:
    own = [f"@ NS ns1.{origin}.", f"ns1 A {home.name}"]
    if origin == _ZONE:
        own = [
            "@ NS ns1",
            "@ NS ns2",
            f"ns1 A {_ONE}",
            f"ns2 A {_TWO}",
        ]
    text = _HEAD.format(origin=origin) + "\n".join([*own, *lines, ""])
    (home / f"{origin}.zone").write_text(text)
    signing = "    dnssec-signing: on\n" if is_signed else ""
    return f'  - domain: "{origin}"\n{signing}'


async def _ask(address: str, port: int, name: str, kind: str) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    return await dns.asyncquery.udp(query, address, port=port, timeout=0.5)


async def _until_it_answers(address: str, port: int, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await _ask(address, port, name, "SOA")
            except (dns.exception.DNSException, OSError):
                await asyncio.sleep(0.05)
            else:
                return


async def _anchor(port: int) -> str:
    """The parent's own key, as what the resolver trusts."""
    async with asyncio.timeout(20):
        while True:
            reply = await _ask(_PARENT, port, "test", "DNSKEY")
            for rrset in reply.answer:
                for key in rrset:
                    if key.flags == 257:
                        return f'trust-anchor: "test. DNSKEY {key.to_text()}"'
            await asyncio.sleep(0.05)
