"""Link and image hosts in DNS, and whether our own hosts for them answer."""

import asyncio
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import (
    Facts,
    Fault,
    Purpose,
    RecordCheck,
    RecordStatus,
    WebHost,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.net.web_door import HttpDoor
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from soboo_mta.onboarding.doors import KEPT, Doors
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS, published

_ONE, _OTHER = ip_address("192.0.2.81"), ip_address("192.0.2.82")
_HOSTS = replace(OPERATOR, link_hosts=(_ONE, _OTHER))
_LINK = "link.customer.com"


@dataclass
class FakeDoor:
    """Answers at the hosts in `up`."""

    up: set[WebHost] = field(default_factory=set)
    asked: list[WebHost] = field(default_factory=list)

    async def answers(self, host: WebHost) -> bool:
        self.asked.append(host)
        return host in self.up


async def test_a_door_is_open_while_one_of_its_hosts_answers() -> None:
    door, clock = FakeDoor({_OTHER}), FakeClock()
    doors = Doors(door=door, clock=clock)
    assert (await doors.opened(_HOSTS)).open_doors == {Purpose.LINK}
    assert door.asked == [_ONE, _OTHER]
    door.up.clear()
    assert (await doors.opened(_HOSTS)).open_doors == {Purpose.LINK}  # for a minute
    clock.advance(KEPT.total_seconds())
    assert (await doors.opened(_HOSTS)).open_doors == frozenset()


async def test_without_hosts_nobody_is_asked() -> None:
    door = FakeDoor()
    assert await Doors(door=door, clock=FakeClock()).opened(OPERATOR) == OPERATOR
    assert door.asked == []


async def test_many_who_wait_knock_once() -> None:
    door = FakeDoor({_ONE})
    doors = Doors(door=door, clock=FakeClock())
    await asyncio.gather(*(doors.opened(_HOSTS) for _ in range(5)))
    assert door.asked == [_ONE]


# ---- what DNS says


async def look(dns: FakeResolver, *, is_open: bool = True) -> CheckResult:
    clock = FakeClock()
    return await DomainCheck(
        resolver=dns,
        operator=_HOSTS,
        suffixes=SuffixList(),
        clock=clock,
        options=CheckOptions(),
        doors=Doors(door=FakeDoor({_ONE} if is_open else set()), clock=clock),
    ).check(SETTINGS, None, ())


def link_check(result: CheckResult) -> RecordCheck:
    (found,) = [one for one in result.checks if one.record.purpose is Purpose.LINK]
    return found


def _dns() -> FakeResolver:
    return published(SETTINGS, operator=_HOSTS)


async def test_a_link_host_that_leads_to_us_is_ready() -> None:
    dns = _dns()
    dns.add(_LINK, "CNAME", "tok7.l.esp.example.")
    result = await look(dns)
    assert link_check(result).status is RecordStatus.GOOD
    assert (result.facts.link_ready, result.facts.image_ready) == (True, False)


async def test_while_no_host_answers_nothing_is_asked_and_nothing_ready() -> None:
    dns = _dns()
    dns.add(_LINK, "CNAME", "tok7.l.esp.example.")
    result = await look(dns, is_open=False)
    assert not [one for one in result.checks if one.record.purpose is Purpose.LINK]
    assert not result.facts.link_ready


@pytest.mark.parametrize(
    ("record", "status", "words"),
    [
        (None, RecordStatus.MISSING, "does not exist"),
        (("A", "203.0.113.9"), RecordStatus.WRONG, "in use for something else"),
        (("CNAME", "other.esp."), RecordStatus.WRONG, "in use for something else"),
        (("TXT", "x"), RecordStatus.WRONG, "in use for something else"),
    ],
)
async def test_a_name_that_is_in_use_is_to_stay_as_it_is(
    record: tuple[str, str] | None, status: RecordStatus, words: str
) -> None:
    dns = _dns()
    if record:
        dns.add(_LINK, *record)
    result = await look(dns)
    check = link_check(result)
    assert (check.status, words in check.cause) == (status, True)
    assert check.mend.startswith("leave it") == (status is RecordStatus.WRONG)
    assert not result.facts.link_ready


async def test_a_target_without_an_address_is_the_operators_to_mend() -> None:
    dns = _dns()
    dns.remove("tok7.l.esp.example")
    dns.add("tok7.l.esp.example", "TXT", "x")
    dns.add(_LINK, "CNAME", "tok7.l.esp.example.")
    check = link_check(await look(dns))
    assert (check.status, check.fault) == (RecordStatus.WRONG, Fault.OPERATOR_HOST)
    assert "has no address" in check.cause


async def test_silence_keeps_what_was_ready() -> None:
    dns, clock = _dns(), FakeClock()
    dns.add(_LINK, "CNAME", "tok7.l.esp.example.")
    check = DomainCheck(
        resolver=dns,
        operator=_HOSTS,
        suffixes=SuffixList(),
        clock=clock,
        options=CheckOptions(),
        doors=Doors(door=FakeDoor({_ONE}), clock=clock),
    )
    first = await check.check(SETTINGS, None, ())
    dns.silent.add(_LINK)
    second = await check.check(SETTINGS, first.facts, first.checks)
    assert link_check(second).status is RecordStatus.UNKNOWN
    assert isinstance(second.facts, Facts)
    assert second.facts.link_ready


# ---- the door itself


async def _answering(words: bytes) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("words", "is_open"),
    [(b"HTTP/1.1 404 Not Found\r\n\r\n", True), (b"220 smtp\r\n", False), (b"", False)],
)
async def test_a_web_server_answers_and_nothing_else_does(
    words: bytes, is_open: bool
) -> None:
    server, port = await _answering(words)
    dns = FakeResolver()
    dns.add("web.esp.example", "A", "127.0.0.1")
    door = HttpDoor(resolver=dns, port=port)
    async with server:
        assert await door.answers(ip_address("127.0.0.1")) is is_open
        assert await door.answers(Domain("web.esp.example")) is is_open
        assert not await door.answers(Domain("none.esp.example"))
    assert not await door.answers(ip_address("127.0.0.1"))
