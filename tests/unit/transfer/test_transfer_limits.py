"""Rates and provider groups: what sites share, and how transactions are spread (case 167)."""

import asyncio
from datetime import timedelta

import pytest

from soboo_mta.mail.domain import Domain
from soboo_mta.transfer.limits.groups import Group, Rate, limits_of
from soboo_mta.transfer.limits.pacer import Pacer
from soboo_mta.transfer.routing.finder import ResolveOptions, Site, SiteFinder
from tests.fakes.clock import FakeClock
from tests.fakes.connector import OK, FakeCapacity, a_message
from tests.fakes.dns import FakeResolver

SECOND = timedelta(seconds=1)
FAST = Rate(count=100, per=SECOND)
BIG = Group(name="big", suffixes=("big.example", "big-mail.example"), connections=3)


@pytest.mark.parametrize(
    ("hosts", "key"),
    [
        (["mx1.big.example", "a.b.big-mail.example"], "group big"),
        (["big.example"], "group big"),
        (["mx.big.example", "mx.other.example"], "site"),  # only partly theirs
        (["notbig.example"], "site"),
    ],
)
def test_a_site_is_in_a_group_with_all_its_hosts_or_not_at_all(hosts, key):
    limits = limits_of(hosts, "site", (BIG,), FAST)
    assert limits.key == key
    assert limits.connections == (3 if key != "site" else None)
    assert limits.rate == FAST  # the common one, where the group has none


def test_a_rate_spreads_and_leases_a_second_at_a_time():
    assert Rate(count=600, per=timedelta(minutes=1)).interval == SECOND / 10
    assert Rate(count=600, per=timedelta(minutes=1)).at_once == 10
    assert Rate(count=5, per=timedelta(hours=1)).at_once == 1


async def test_sites_of_one_provider_share_its_limits():
    dns = FakeResolver()
    for name in ("one", "two"):
        dns.add(f"{name}.example", "MX", f"10 mx.{name}.big.example")
        dns.add(f"mx.{name}.big.example", "A", "9.9.9.9")
    options = ResolveOptions(groups=(BIG,))
    finder = SiteFinder(resolver=dns, clock=FakeClock(), options=options)
    sites = [await finder.find(Domain(f"{name}.example")) for name in ("one", "two")]
    assert all(isinstance(site, Site) for site in sites)
    assert sites[0].name != sites[1].name
    assert sites[0].limits == sites[1].limits


async def test_a_provider_has_no_more_connections_than_its_group_over_all_sites(start):
    group = Group(name="all", suffixes=("example",), connections=2)
    world = await start(
        resolve=ResolveOptions(groups=(group,)),
        ready={"first_connections": 9, "idle": timedelta(seconds=5)},
    )
    world.engine._seeker._finder = SiteFinder(
        resolver=world.dns, clock=world.clock, options=world.options.resolve
    )
    world.connector.gate.clear()
    for number in range(12):
        to = (f"u{number}@{'there' if number % 2 else 'slow'}.example",)
        world.engine.offer(a_message(number, to=to), (0,))
    await world.until(lambda: len(world.connector.transactions) == 2)
    for _ in range(20):  # as long as it took to open the others
        await asyncio.sleep(0.001)
    assert len(world.connector.sessions) == 2
    assert set(world.capacity.taken) == {"group all"}
    world.connector.gate.set()
    await world.settled(12)
    assert world.capacity.most == 2


async def test_transactions_keep_their_distance(start):
    world = await start(resolve=ResolveOptions(rate=FAST))
    world.engine._seeker._finder = SiteFinder(
        resolver=world.dns, clock=world.clock, options=world.options.resolve
    )
    loop, times = asyncio.get_running_loop(), []

    def answer(_):
        times.append(loop.time())
        return OK

    world.connector.answer = answer
    began = loop.time()
    for number in range(30):
        world.engine.offer(a_message(number), (0,))
    await world.settled(30)
    for number, time in enumerate(times):
        assert time - began >= number * 0.01 - 0.002  # a timer's tick


async def test_a_slow_rate_holds_no_connection_open_meanwhile(start):
    slow = Rate(count=4, per=SECOND)
    world = await start(
        resolve=ResolveOptions(rate=slow), ready={"idle": timedelta(milliseconds=20)}
    )
    world.engine._seeker._finder = SiteFinder(
        resolver=world.dns, clock=world.clock, options=world.options.resolve
    )
    for number in range(3):
        world.engine.offer(a_message(number), (0,))
    await world.settled(3)
    assert len(world.connector.sessions) == 3
    await world.until(lambda: world.connector.closed == 3)


async def test_turns_that_a_rest_left_over_make_no_burst():
    pacer = Pacer(FakeCapacity(), ("site", "one"), FAST, epoch=1)
    await pacer.turn(50)  # fifty are leased
    await asyncio.sleep(0.1)  # and ten pass unused
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(10):
        at = loop.time() + await pacer.turn(50)
        assert at - began >= (number - 1) * 0.01 - 0.002


async def test_a_stop_does_not_wait_for_a_turn(start):
    hourly = Rate(count=1, per=timedelta(hours=1))
    world = await start(resolve=ResolveOptions(rate=hourly))
    world.engine._seeker._finder = SiteFinder(
        resolver=world.dns, clock=world.clock, options=world.options.resolve
    )
    for number in range(3):
        world.engine.offer(a_message(number), (0,))
    await world.settled(1)
    async with asyncio.timeout(5):
        await world.engine.drain(timedelta(seconds=4))
    assert len(world.spool.settled) == 1
    assert len(world.spool.returned) == 2
