"""Ready queues under an engine: what shares a connection, a limit, a lease; how they end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

from soboo_mta.mail.outcome import Delivered
from soboo_mta.ports import TlsPolicy
from soboo_mta.spool.capacity import Capacity
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.store.writer import Writer
from soboo_mta.transfer.routing.finder import ResolveOptions, SiteFinder
from soboo_mta.transfer.routing.pools import Pools
from soboo_mta.transfer.routing.rules import NextHop, Route, RouteTo
from tests.fakes.clock import FakeClock
from tests.fakes.connector import OK, SOURCE, FakeSession, a_message
from tests.fakes.engine import GOODBYE, World


@asynccontextmanager
async def running(world: World) -> AsyncIterator[asyncio.Task[None]]:
    """The engine runs inside; what a test leaves of it is cancelled."""
    task = asyncio.create_task(world.engine.run())
    await world.engine.started.wait()
    try:
        yield task
    finally:
        world.connector.gate.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def changed(world: World, change: Callable[[FakeSession, TlsPolicy], None]) -> None:
    """Let `change` have each session as it is opened, with what was asked of it."""
    dial = world.connector.connect

    async def connect(hop, *, tls, **rest):
        session = await dial(hop, tls=tls, **rest)
        change(session, tls)
        return session

    world.connector.connect = connect


async def test_case_155_a_route_that_requires_tls_shares_no_connection_with_one_that_does_not():
    world = World(ready={"connections": 1, "idle": timedelta(seconds=2)})
    hops = (NextHop.parse("192.0.2.7:25"),)
    routes = (
        Route(pattern="secret.example", to=RouteTo(hops=hops, tls=TlsPolicy.REQUIRED)),
        Route(pattern="*", to=RouteTo(hops=hops, tls=TlsPolicy.OPPORTUNISTIC)),
    )
    world.engine._seeker._finder = SiteFinder(
        resolver=world.dns, clock=world.clock, options=ResolveOptions(routes=routes)
    )
    policies = {}

    def note(session, tls):
        deliver = session.deliver

        async def noted(transaction):
            policies[str(transaction.recipients[0])] = tls
            return await deliver(transaction)

        session.deliver = noted

    changed(world, note)
    async with running(world):
        world.engine.offer(a_message(1, to=("x@open.example",)), (0,))
        await world.settled(1)
        world.engine.offer(a_message(2, to=("x@secret.example",)), (0,))
        await world.settled(2)
    assert policies == {
        "x@open.example": TlsPolicy.OPPORTUNISTIC,
        "x@secret.example": TlsPolicy.REQUIRED,
    }


async def test_case_155_sources_share_no_connection():
    bound = (ip_address("192.0.2.10"), ip_address("192.0.2.11"))
    sources = (
        replace(SOURCE, name=str(n), address=address) for n, address in enumerate(bound)
    )
    world = World(
        ready={"connections": 1, "idle": timedelta(seconds=2)},
        pools=Pools.of(tuple(sources)),
    )
    left_by = {}
    dial = world.connector.connect

    async def connect(hop, *, source_address, **rest):
        session = await dial(hop, source_address=source_address, **rest)
        deliver = session.deliver

        async def noted(transaction):
            left_by.setdefault(str(transaction.recipients[0]), []).append(
                source_address
            )
            return await deliver(transaction)

        session.deliver = noted
        return session

    world.connector.connect = connect
    async with running(world):
        for number in range(16):  # each recipient has its source
            to = (f"{number % 8}@there.example",)
            world.engine.offer(a_message(number, to=to), (0,))
        await world.settled(16)
    assert all(len(set(used)) == 1 for used in left_by.values())
    assert {used[0] for used in left_by.values()} == set(bound)
    assert len(world.connector.dialled) == 2


async def test_domains_that_rank_the_same_hosts_differently_each_try_their_best_first(
    start,
):
    world = await start(ready={"idle": timedelta(seconds=2)})
    world.dns.add("turned.example", "MX", "10 b.there.example")
    world.dns.add("turned.example", "MX", "20 a.there.example")
    for turn, domain in enumerate(("there", "turned", "there", "turned")):
        to = (f"x@{domain}.example",)
        world.engine.offer(a_message(turn + 1, to=to), (0,))
        await world.settled(turn + 1)
    hosts = [attempt["host"].partition("[")[0] for attempt in world.ledger.attempts]
    assert hosts == ["a.there.example", "b.there.example"] * 2
    assert len({site for site, taken in world.capacity.taken.items() if taken}) == 1


async def test_421_from_a_sites_only_host_is_not_asked_again_at_once(start):
    world = await start()
    world.connector.answer = GOODBYE
    world.engine.offer(a_message(1, to=("x@slow.example",)), (0,))
    await world.settled(1)
    assert len(world.connector.transactions) == 1


async def test_connections_stay_within_the_limit_while_one_says_goodbye():
    world = World(ready={"connections": 2, "idle": timedelta(milliseconds=20)})
    is_open, most, held, closing = set(), 0, asyncio.Event(), asyncio.Event()
    may_close = asyncio.Event()

    def slow_to_leave(session, _):
        nonlocal most
        is_open.add(id(session))
        most = max(most, len(is_open))

        async def deliver(transaction):
            if str(transaction.recipients[0]).startswith("slow"):
                await held.wait()
            return (OK,)

        async def close():
            closing.set()
            await may_close.wait()  # a peer slow to answer QUIT
            is_open.discard(id(session))

        session.deliver, session.close = deliver, close

    changed(world, slow_to_leave)
    async with running(world):
        world.engine.offer(a_message(1, to=("slow@there.example",)), (0,))
        world.engine.offer(a_message(2), (0,))
        await world.settled(1)
        await closing.wait()  # the second one grew idle
        world.engine.offer(a_message(3), (0,))
        for _ in range(50):  # as long as it took to open the others
            await asyncio.sleep(0.001)
        may_close.set()
        await world.settled(2)
        held.set()
        await world.settled(3)
    assert most == 2


async def test_a_share_ends_with_the_lease_it_was_taken_under(
    writer: Writer, clock: FakeClock
) -> None:
    def now(_):
        return clock.unix_ms()

    mine = WorkerLease(writer=writer, clock=clock, store_now=now)
    other = WorkerLease(writer=writer, clock=clock, store_now=now)
    await mine.register(host="a", process=1)
    await other.register(host="b", process=2)
    world = World(ready={"connections": 2, "idle": timedelta(seconds=20)})
    engine, theirs = world.engine, Capacity(writer=writer, lease=other)
    engine._lease = world.departures._lease = engine._settlements._lease = mine
    capacity = Capacity(writer=writer, lease=mine)
    street = engine._queues._street
    engine._queues._street = replace(street, capacity=capacity, clock=clock)
    async with running(world):
        world.connector.gate.clear()
        for number in (1, 2):
            engine.offer(a_message(number), (0,))
        await world.until(lambda: len(world.connector.transactions) == 2)
        world.connector.gate.set()
        await world.settled(2)  # two idle connections, the whole limit
        await mine.release()
        await mine.register(host="a", process=1)
        site = "a.there.example|b.there.example"
        assert await theirs.take(site, "one", 2, 2, epoch=other.epoch) == 2
        engine.offer(a_message(3), (0,))
        await world.until(
            lambda: not any(s.is_usable for s in world.connector.sessions)
        )
        assert len(world.connector.transactions) == 2
        await theirs.give_back(site, "one", 2, epoch=other.epoch)
        await world.settled(3)


async def test_a_fence_waits_for_the_answer_to_a_final_dot(start):
    world = await start(fence_patience=timedelta(0))
    sent, may_answer = [], asyncio.Event()

    def thoughtful(session, _):
        async def deliver(transaction):
            assert transaction.may_finish()
            sent.append(transaction)
            await may_answer.wait()  # the peer thinks about it, then takes it
            return (OK,)

        session.deliver = deliver

    changed(world, thoughtful)
    world.engine.offer(a_message(1), (0,))
    await world.until(lambda: bool(sent))
    world.identities.generation += 1
    for _ in range(3):
        await world.departures.cut_short(older_than=timedelta(0))
    assert world.engine.acknowledged_generation() < world.identities.generation
    world.clock.advance(20)  # it left in full: only the answer is missing
    world.clock.advance(0.001)
    assert world.engine.acknowledged_generation() == world.identities.generation
    may_answer.set()
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Delivered)


# ---- errors of ours


async def test_a_settlement_that_breaks_ends_the_lease_with_the_claim(start):
    world = await start()

    def settlement(*_, **__):
        raise RuntimeError("a bug")

    world.spool.settlement = settlement
    world.engine.offer(a_message(1), (0,))
    await world.until(lambda: bool(world.connector.transactions))
    await world.until(lambda: world.engine._holdings.recipients == 0)
    assert world.lease.is_given_up


async def test_a_connection_that_breaks_in_closing_leaves_no_job_behind(start):
    world = await start()

    def broken(session, _):
        session.is_usable = False

        async def close():
            raise RuntimeError("a bug")

        session.close = close

    changed(world, broken)
    for number in range(1, 12):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: world.engine._holdings.recipients == 0)


# ---- the end


async def test_case_133_nothing_departs_after_the_drain_interrupted_what_was_under_way():
    world = World(ready={"connections": 1})
    world.connector.lasts = 1
    closing, may_close = asyncio.Event(), asyncio.Event()

    def late(session, _):
        async def close():
            closing.set()
            await may_close.wait()  # QUIT is answered late

        session.close = close

    changed(world, late)
    async with running(world) as task:
        for number in (1, 2):
            world.engine.offer(a_message(number), (0,))
        await closing.wait()
        world.connector.gate.clear()  # the peer will say nothing to the second one
        draining = asyncio.create_task(world.engine.drain(timedelta(0)))
        await asyncio.sleep(0.01)  # the first interruption is past
        may_close.set()
        async with asyncio.timeout(5):
            await draining
            await task


async def test_case_133_draining_ends_though_the_store_is_away():
    world = World()

    async def commit(unit):
        await asyncio.sleep(0)
        raise StoreUnavailable("gone")

    world.ledger.commit = commit
    async with running(world) as task:
        world.engine.offer(a_message(1), (0,))
        await world.connector.began.wait()
        world.lease.may_start_attempt = False  # it could not be renewed either
        async with asyncio.timeout(8):
            await world.engine.drain(timedelta(0))
            await task
    assert world.lease.is_given_up
