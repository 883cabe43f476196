"""Leases and capacity shares with several workers on one store."""

from dataclasses import dataclass

import pytest

from soboo_mta.mail.ids import MAX_WORKER_NUMBER
from soboo_mta.spool.capacity import Capacity
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import worker as worker_table
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock


def make(writer: Writer, clock: FakeClock) -> WorkerLease:
    return WorkerLease(writer=writer, clock=clock, store_now=lambda _c: clock.unix_ms())


async def registered(writer: Writer, clock: FakeClock) -> WorkerLease:
    lease = make(writer, clock)
    await lease.register(host="host", process=1)
    return lease


async def test_two_workers_have_different_numbers(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    one, two = await registered(writer, clock), await registered(second, clock)
    assert {one.number, two.number} == {0, 1}
    assert [live.number for live in await two.live_workers()] == [0, 1]


async def test_number_of_a_dead_worker_is_taken_with_a_higher_epoch(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    one = await registered(writer, clock)
    clock.advance(5)
    two = await registered(second, clock)
    assert (two.number, two.epoch > one.epoch) == (0, True)


async def test_case_136_epoch_rises_even_when_the_clock_was_set_back(
    writer: Writer, clock: FakeClock
) -> None:
    one = await registered(writer, clock)
    epoch = one.epoch
    await one.release()
    clock.jump(-40 * 86_400)
    await one.register(host="host", process=1)
    assert one.epoch > epoch


async def test_worker_stops_inside_the_margin_before_its_lease_ends(
    writer: Writer, clock: FakeClock
) -> None:
    lease = await registered(writer, clock)
    clock.advance(2.4)
    assert lease.may_start_attempt
    clock.advance(0.2)
    assert not lease.may_start_attempt
    assert len(await lease.live_workers()) == 1  # by the store it lives on


async def test_lease_counts_from_before_the_renewal(
    writer: Writer, clock: FakeClock
) -> None:
    def slow(_connection: object) -> int:
        clock.advance(2)  # the store takes its time
        return clock.unix_ms()

    lease = WorkerLease(writer=writer, clock=clock, store_now=slow)
    before = clock.monotonic()
    await lease.register(host="host", process=1)
    assert clock.monotonic() == before + 2
    assert lease.seconds_left == pytest.approx(0.5)  # 4 less 1.5 margin less 2 waiting


async def test_renewal_keeps_the_lease_and_reports_the_generation(
    writer: Writer, clock: FakeClock
) -> None:
    lease = await registered(writer, clock)
    clock.advance(3)
    assert await lease.renew(7)
    assert lease.is_held
    assert [live.acknowledged for live in await lease.live_workers()] == [7]


async def test_lease_that_ran_out_cannot_be_renewed(
    writer: Writer, clock: FakeClock
) -> None:
    lease = await registered(writer, clock)
    clock.advance(5)
    assert not await lease.renew(0)
    assert not lease.is_held


async def test_case_139_stopped_and_continued_worker_finds_itself_replaced(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    stopped = await registered(writer, clock)
    clock.advance(60)
    await registered(second, clock)
    assert not stopped.may_start_attempt
    assert not await stopped.renew(0)
    assert len(await stopped.live_workers()) == 1


async def test_case_136_lease_far_in_the_future_is_dead_after_the_clock_went_back(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    await registered(writer, clock)
    clock.jump(-40 * 86_400)
    assert (await registered(second, clock)).number == 0


async def test_all_numbers_taken_is_an_error(writer: Writer, clock: FakeClock) -> None:
    rows = [
        {
            "number": number,
            "epoch": 1,
            "lease_until": clock.unix_ms() + 5_000,
            "started_at": 0,
            "host": "",
            "process": 0,
            "acknowledged": 0,
        }
        for number in range(MAX_WORKER_NUMBER + 1)
    ]
    await writer.transact(lambda c: c.execute(worker_table.insert(), rows).rowcount)
    with pytest.raises(StoreError, match="taken"):
        await registered(writer, clock)


@dataclass
class Shares:
    """Capacity as a queue of the lease's present epoch takes it."""

    capacity: Capacity
    lease: WorkerLease

    async def take(self, site: str, source: str, wanted: int, limit: int) -> int:
        epoch = self.lease.epoch
        return await self.capacity.take(site, source, wanted, limit, epoch=epoch)

    async def give_back(self, site: str, source: str, connections: int) -> None:
        epoch = self.lease.epoch
        await self.capacity.give_back(site, source, connections, epoch=epoch)


def shares(writer: Writer, lease: WorkerLease) -> Shares:
    return Shares(Capacity(writer=writer, lease=lease), lease)


async def test_shares_of_two_workers_never_exceed_the_limit(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    first, other = await registered(writer, clock), await registered(second, clock)
    one, two = shares(writer, first), shares(second, other)
    assert await one.take("mx.example", "a", 6, 10) == 6
    assert await two.take("mx.example", "a", 6, 10) == 4
    assert await one.take("mx.example", "a", 1, 10) == 0
    assert await one.take("mx.example", "b", 1, 10) == 1  # another egress source
    await two.give_back("mx.example", "a", 3)
    assert await one.take("mx.example", "a", 5, 10) == 3


async def test_lowered_limit_grants_nothing_until_shares_return(
    writer: Writer, clock: FakeClock
) -> None:
    capacity = shares(writer, await registered(writer, clock))
    assert await capacity.take("s", "a", 8, 10) == 8
    assert await capacity.take("s", "a", 1, 5) == 0
    await capacity.give_back("s", "a", 4)
    assert await capacity.take("s", "a", 9, 5) == 1


async def test_share_of_a_dead_worker_returns(
    writer: Writer, second: Writer, clock: FakeClock
) -> None:
    lease = await registered(writer, clock)
    dead = shares(writer, lease)
    assert await dead.take("s", "a", 10, 10) == 10
    alive = await registered(second, clock)
    for _ in range(6):
        clock.advance(1)
        assert await alive.renew(0)
    assert await shares(second, alive).take("s", "a", 4, 10) == 4
    assert await dead.take("s", "a", 1, 10) == 0
    await lease.register(host="again", process=1)
    assert await dead.take("s", "a", 10, 10) == 6
    await dead.give_back("s", "a", 6)
    assert await dead.take("s", "a", 10, 10) == 6


async def test_an_old_lease_gives_back_nothing_of_the_new_one(
    writer: Writer, clock: FakeClock
) -> None:
    lease = await registered(writer, clock)
    capacity, old = Capacity(writer=writer, lease=lease), lease.epoch
    assert await capacity.take("s", "a", 2, 2, epoch=old) == 2
    await lease.release()
    await lease.register(host="again", process=1)
    assert await capacity.take("s", "a", 2, 2, epoch=old) == 0
    assert await capacity.take("s", "a", 2, 2, epoch=lease.epoch) == 2
    await capacity.give_back("s", "a", 2, epoch=old)
    assert await capacity.take("s", "a", 1, 2, epoch=lease.epoch) == 0


async def test_case_136_a_wall_clock_set_ahead_takes_nothing_from_a_worker_that_lives(
    sqlite_url: str, clock: FakeClock
) -> None:
    """On SQLite; PostgreSQL has a clock of its own."""
    writer = Writer(open_engine(sqlite_url))
    await writer.start()
    one, other = (WorkerLease(writer=writer, clock=clock) for _ in range(2))
    await one.register(host="a", process=1)
    await other.register(host="a", process=2)
    clock.jump(10)
    assert await other.renew(0)
    assert not await writer.read(other.has_dead)
    assert await one.renew(0)
    await writer.close()
