"""Who gets how much of a limit that is too small for all; over workers on one store."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from soboo_mta.spool.capacity import Capacity, Share, fair_share, granting, in_line
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.operator.orders import HoldScope, Slowed
from soboo_mta.store.schema import pace
from soboo_mta.store.writer import Writer
from soboo_mta.transfer.limits.groups import Rate
from soboo_mta.transfer.limits.slowing import Slowing
from tests.fakes.clock import FakeClock

some_shares = st.dictionaries(
    st.integers(1, 8), st.builds(Share, st.integers(0, 30), st.integers(0, 300))
)


@pytest.mark.parametrize(
    ("demands", "limit", "due"),
    [
        ([30, 10], 20, [10, 10]),  # who asks for little gets it
        ([3, 300], 20, [3, 17]),
        ([300, 300, 300], 20, [7, 7, 6]),
        ([100, 1], 1, [0, 1]),
        ([5, 5], 20, [5, 5]),
        ([0, 50], 20, [0, 20]),
    ],
)
def test_a_limit_is_shared_by_max_min_fairness(
    demands: list[int], limit: int, due: list[int]
) -> None:
    shares = {number: Share(0, demand) for number, demand in enumerate(demands)}
    assert [fair_share(shares, number, limit) for number in shares] == due


@given(some_shares, st.integers(0, 100))
def test_fair_shares_use_the_limit_up_and_never_more(
    shares: dict[int, Share], limit: int
) -> None:
    due = {number: fair_share(shares, number, limit) for number in shares}
    demanded = sum(share.demand for share in shares.values())
    assert sum(due.values()) == min(limit, demanded)
    least = min((due[n] for n in shares if due[n] < shares[n].demand), default=limit)
    assert all(got <= least + 1 for got in due.values())


@given(some_shares, st.integers(1, 50), st.integers(0, 50), st.integers(0, 100))
def test_a_grant_never_passes_the_limit(
    shares: dict[int, Share], wanted: int, spare: int, limit: int
) -> None:
    granted = granting(shares, 1, wanted=wanted, spare=spare, limit=limit)
    held = sum(share.held for share in shares.values())
    assert granted >= 0
    assert granted == 0 or held + granted <= limit


async def registered(writer: Writer, clock: FakeClock) -> WorkerLease:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return lease


async def test_who_waits_is_seen_and_gets_what_the_other_gives_back(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    lease, other = await registered(writer, clock), await registered(second, clock)
    one = Capacity(writer=writer, lease=lease)
    two = Capacity(writer=second, lease=other)
    assert await one.take("s", "a", 20, 20, epoch=lease.epoch) == 20
    assert await one.contested() == {}
    assert await two.take("s", "a", 30, 20, epoch=other.epoch) == 0
    shares = (await one.contested())["s", "a"]
    assert shares == {lease.number: Share(20), other.number: Share(0, 30)}
    assert (one.surplus(shares, 20), two.surplus(shares, 20)) == (10, 0)
    await one.give_back("s", "a", 10, epoch=lease.epoch)
    # The first does not get back what it gave up, however often it asks.
    assert await one.take("s", "a", 50, 20, epoch=lease.epoch) == 0
    assert await two.take("s", "a", 30, 20, epoch=other.epoch) == 10
    assert one.surplus((await one.contested())["s", "a"], 20) == 0
    await two.give_back("s", "a", 10, epoch=other.epoch)  # it waits no more
    assert await one.take("s", "a", 50, 20, epoch=lease.epoch) == 10


async def test_spare_connections_are_granted_while_nobody_waits(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    lease, other = await registered(writer, clock), await registered(second, clock)
    one = Capacity(writer=writer, lease=lease)
    two = Capacity(writer=second, lease=other)
    assert await one.take("s", "a", 2, 10, spare=6, epoch=lease.epoch) == 8
    assert await two.take("s", "a", 4, 10, epoch=other.epoch) == 2
    await one.give_back("s", "a", 4, epoch=lease.epoch)
    assert await one.take("s", "a", 2, 10, spare=6, epoch=lease.epoch) == 2


async def test_turns_of_all_workers_keep_their_distance(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    one = Capacity(writer=writer, lease=await registered(writer, clock))
    two = Capacity(writer=second, lease=await registered(second, clock))
    step, turns = timedelta(milliseconds=100), []
    for wanted, of in ((1, one), (3, two), (2, one), (1, two)):
        first = await of.turns("site", "a", wanted, step, epoch=of._lease.epoch)
        assert first is not None
        turns += [first + number * 0.1 for number in range(wanted)]
    assert turns == pytest.approx([number * 0.1 for number in range(7)])
    elsewhere = await one.turns("site", "b", 1, step, epoch=one._lease.epoch)
    assert elsewhere == 0
    clock.advance(1)  # unused time is lost: no burst follows
    assert await two.turns("site", "a", 1, step, epoch=two._lease.epoch) == 0
    assert await one.turns("site", "a", 1, step, epoch=-1) is None


async def test_turns_in_a_line_are_taken_within_a_time_alone(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    """However long the line: what comes too late leaves it as it is."""
    one = Capacity(writer=writer, lease=await registered(writer, clock))
    two = Capacity(writer=second, lease=await registered(second, clock))
    step = timedelta(milliseconds=1)

    async def turn(of: Capacity, within: timedelta) -> timedelta | None:
        epoch = of._lease.epoch
        waits = await of.turns_in_line("mine", step, within=[within], epoch=epoch)
        return None if waits is None else waits[0]

    day = timedelta(days=1)
    assert await turn(one, day) == timedelta(0)
    assert await turn(two, day) == step
    key = {"next_at": (clock.unix_ms() + 2 * 86_400_000) * 1_000}
    await writer.transact(lambda at: at.execute(pace.update().values(key)))
    assert await turn(one, day) == await turn(two, day) == 2 * day  # nobody took it
    assert await turn(one, 3 * day) == 2 * day
    assert await turn(two, 3 * day) == 2 * day + step
    assert await one.turns_in_line("mine", step, within=[day], epoch=-1) is None
    clock.jump(-40 * 86_400)  # the store's clock began anew
    fresh = Capacity(writer=writer, lease=await registered(writer, clock))
    assert await turn(fresh, day) == timedelta(0)


async def test_turns_go_on_where_the_stores_clock_began_anew(
    writer: Writer, clock: FakeClock
) -> None:
    clock.advance(10**7)
    capacity = Capacity(writer=writer, lease=await registered(writer, clock))
    await capacity.turns("site", "a", 1, timedelta(seconds=1), epoch=1)
    clock.jump(-(10**7))
    fresh = Capacity(writer=writer, lease=await registered(writer, clock))
    epoch = fresh._lease.epoch
    first = await fresh.turns("site", "a", 1, timedelta(seconds=1), epoch=epoch)
    assert first == 0


def test_who_asks_together_takes_one_turn_after_the_other() -> None:
    """Who would be too late takes none, and nobody waits for it."""
    second = timedelta(seconds=1)
    waits = in_line(3 * second, second, [9 * second, second, 4 * second, 4 * second])
    assert waits == tuple(number * second for number in (3, 4, 4, 5, 5))


async def test_many_who_ask_at_once_are_told_in_few_transactions(
    writer: Writer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be a commit that who accepts mail waits for."""
    lease = await registered(writer, clock)
    slowing = Slowing(
        Capacity(writer=writer, lease=lease), Rate(count=1, per=timedelta(seconds=1))
    )
    transactions = 0
    transact = writer.transact

    async def counted(function: Callable[[Connection], object]) -> object:
        nonlocal transactions
        transactions += 1
        return await transact(function)

    monkeypatch.setattr(writer, "transact", counted)
    line, within = Slowed(HoldScope.TENANT, "acme"), timedelta(hours=1)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(slowing.turn(line, within=within, epoch=lease.epoch))
            for _ in range(300)
        ]
    waits = [task.result() or timedelta(0) for task in tasks]
    assert [wait.total_seconds() for wait in waits] == pytest.approx(
        range(300), abs=0.9
    )
    assert transactions <= 3
