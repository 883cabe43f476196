"""Quotas: exact over several workers, and gone with their hour."""

import asyncio

import pytest
from sqlalchemy import select

from soboo_mta.mail.ids import TenantId
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy import accounts
from soboo_mta.tenancy.directory import Directory
from soboo_mta.tenancy.quota import Quota, QuotaOptions
from tests.fakes.clock import FakeClock
from tests.fakes.tenancy import ACME, MASTER, RIVAL, tenant, with_tenants


@pytest.fixture
async def directory(writer: Writer, clock: FakeClock) -> Directory:
    await writer.transact(with_tenants)
    directory = Directory(writer=writer, master=MASTER, clock=clock)
    await directory.refresh()
    return directory


@pytest.fixture
def workers(writer: Writer, directory: Directory, clock: FakeClock) -> list[Quota]:
    return [Quota(writer=writer, directory=directory, clock=clock) for _ in range(3)]


async def limit(
    writer: Writer, directory: Directory, hourly: int | None, daily: int | None = None
) -> None:
    wanted = tenant(hourly_quota=hourly, daily_quota=daily)
    await writer.transact(lambda at: accounts.change_tenant(at, wanted))
    await directory.refresh()


async def taken(writer: Writer) -> dict[str, int]:
    use = schema.quota_use.c
    rows = await writer.read(lambda at: at.execute(select(use.period, use.taken)).all())
    return {row.period: row.taken for row in rows}


async def test_without_a_quota_nothing_is_counted(
    writer: Writer, workers: list[Quota]
) -> None:
    assert all([await workers[0].take(ACME, 1_000_000) for _ in range(5)])
    assert await taken(writer) == {}


async def test_a_tenant_that_does_not_exist_sends_nothing(workers: list[Quota]) -> None:
    assert not await workers[0].take(TenantId("nobody"), 1)


@pytest.mark.parametrize("quota", [0, 1, 7, 63, 64, 100, 1_000])
async def test_case_060_workers_together_take_the_quota_and_never_more(
    writer: Writer, directory: Directory, workers: list[Quota], quota: int
) -> None:
    await limit(writer, directory, quota)
    got = 0
    for turn in range(quota + 50):
        got += await workers[turn % 3].take(ACME, 1)
    assert got <= quota
    held_back = 2 * (quota // 64)  # what two idle workers may hold
    assert got >= quota - held_back


async def test_case_060_at_the_same_time_they_never_take_more_either(
    writer: Writer, directory: Directory, workers: list[Quota]
) -> None:
    await limit(writer, directory, 100)
    takes = [workers[number % 3].take(ACME, 3) for number in range(60)]
    got = sum(await asyncio.gather(*takes))
    assert got * 3 <= 100
    assert got * 3 >= 90


async def test_what_does_not_fit_takes_nothing(
    writer: Writer, directory: Directory, workers: list[Quota], clock: FakeClock
) -> None:
    await limit(writer, directory, 10)
    assert not await workers[0].take(ACME, 11)
    clock.advance(2)
    assert await workers[0].take(ACME, 10)
    clock.advance(2)
    assert not await workers[0].take(ACME, 1)


async def test_case_060_the_day_counts_beside_the_hour(
    writer: Writer, directory: Directory, workers: list[Quota], clock: FakeClock
) -> None:
    await limit(writer, directory, hourly=10, daily=15)
    assert await workers[0].take(ACME, 10)
    clock.advance(3_600)
    assert not await workers[0].take(ACME, 6)
    clock.advance(2)
    assert await workers[0].take(ACME, 5)
    clock.advance(86_400)
    assert await workers[0].take(ACME, 10)


async def test_a_new_hour_begins_anew_and_the_old_row_goes(
    writer: Writer, directory: Directory, workers: list[Quota], clock: FakeClock
) -> None:
    await limit(writer, directory, 5)
    assert await workers[0].take(ACME, 5)
    clock.advance(3_600)
    assert await workers[0].take(ACME, 2)
    assert await taken(writer) == {"hour": 2}


async def test_a_block_is_leased_so_that_most_messages_ask_no_one(
    writer: Writer, directory: Directory, workers: list[Quota]
) -> None:
    await limit(writer, directory, 6_400)
    assert await workers[0].take(ACME, 1)
    assert await taken(writer) == {"hour": 100}
    for _ in range(99):
        assert await workers[0].take(ACME, 1)
    assert await taken(writer) == {"hour": 100}
    assert await workers[0].take(ACME, 1)
    assert await taken(writer) == {"hour": 200}


async def test_after_a_refusal_the_store_rests_for_a_second(
    writer: Writer, directory: Directory, clock: FakeClock
) -> None:
    quota = Quota(
        writer=writer, directory=directory, clock=clock, options=QuotaOptions()
    )
    await limit(writer, directory, 5)
    assert not await quota.take(ACME, 6)
    assert not await quota.take(ACME, 1)
    clock.advance(1)
    assert await quota.take(ACME, 1)


async def test_a_lowered_quota_holds_at_once(
    writer: Writer, directory: Directory, workers: list[Quota]
) -> None:
    await limit(writer, directory, 6_400)
    assert await workers[0].take(ACME, 1)
    await limit(writer, directory, 50)
    assert not await workers[0].take(ACME, 1)


async def test_a_cancelled_take_leaves_what_was_held(
    writer: Writer, directory: Directory, workers: list[Quota]
) -> None:
    await limit(writer, directory, 6_400)
    assert await workers[0].take(ACME, 1)  # 99 are held
    waiting = asyncio.ensure_future(workers[0].take(ACME, 150))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    used = await taken(writer)
    assert all([await workers[0].take(ACME, 1) for _ in range(99)])
    assert await taken(writer) in (used, {"hour": 151}, {"hour": 200})


async def test_case_060_one_tenants_quota_is_not_anothers(
    writer: Writer, directory: Directory, workers: list[Quota]
) -> None:
    await limit(writer, directory, 1)
    assert await workers[0].take(ACME, 1)
    assert not await workers[0].take(ACME, 1)
    assert await workers[0].take(RIVAL, 500)


async def test_what_is_given_back_can_be_taken_again(
    writer: Writer, directory: Directory, workers: list[Quota], clock: FakeClock
) -> None:
    await limit(writer, directory, 5)
    assert await workers[0].take(ACME, 5)
    workers[0].give_back(ACME, 3)
    assert not await workers[0].take(ACME, 4)
    assert await workers[0].take(ACME, 3)
    workers[0].give_back(RIVAL, 1_000)  # which took none
    clock.advance(3_600)
    workers[0].give_back(ACME, 5)  # of an hour that is over
    assert not await workers[0].take(ACME, 6)
