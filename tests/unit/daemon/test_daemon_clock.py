"""A wall clock that is set back while the control process looks (case 136)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, select

from soboo_mta.daemon.clock import watch_clock
from soboo_mta.events.attempt import AttemptFacts, attempted
from soboo_mta.mail.outcome import Deferred, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import recipient
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.store.writer import Writer
from tests.fakes.connector import a_message

NOW = 1_800_000_000_000
HOUR, WAIT = 3_600_000, 60_000  # ms
LOOK = timedelta(milliseconds=5)
LATER = Deferred(
    reply=reply(450, "4.2.0", "later"), reason=Reason.REPLY, scope=Scope.MESSAGE
)


class SetClock:
    """Two clocks that stand still. `pause` passes, once, between two readings."""

    def __init__(self, wall: int) -> None:
        self.wall, self.elapsed, self.pause, self.looks = wall, 100.0, 0.0, 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.unix_ms() / 1_000, UTC)

    def unix_ms(self) -> int:
        wall, pause = self.wall, self.pause
        self.pause = 0.0
        self.elapsed += pause
        self.wall += int(pause * 1_000)
        self.looks += 1
        return wall

    def monotonic(self) -> float:
        return self.elapsed

    async def is_looked_at(self, times: int = 3) -> None:
        """Wait until the watch has looked so often from now on."""
        seen = self.looks
        async with asyncio.timeout(5):
            while self.looks < seen + times:
                await asyncio.sleep(0.001)


async def deferred_ahead(
    writer: Writer, accepted_at: int = 0
) -> Callable[[], Awaitable[int]]:
    """One message, deferred for a minute while the clock stood an hour ahead; how long
    it waits from the right time on (ms)."""
    clock = SetClock(NOW + HOUR)
    lease = WorkerLease(writer=writer, clock=clock, store_now=lambda _: clock.wall)
    await lease.register(host="test", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    mail = replace(a_message(1), accepted_at=accepted_at)
    await spool.accept(mail, claim=False, due_at=NOW)
    (claimed,) = await spool.claim_due(1)
    due_at = clock.wall + WAIT
    settled = spool.settlement(claimed, LATER, at=clock.wall, due_at=due_at)
    tried = attempted(mail.message_id, 0, LATER, AttemptFacts(at=clock.wall))
    await writer.commit([*settled, tried])

    def left(connection: Connection) -> int:
        return int(connection.scalar(select(recipient.c.due_at)) or 0) - NOW

    async def waits() -> int:
        return await writer.read(left)

    return waits


@pytest.fixture
async def waits(writer: Writer) -> Callable[[], Awaitable[int]]:
    return await deferred_ahead(writer)


@pytest.fixture
async def clock(writer: Writer) -> AsyncIterator[SetClock]:
    """An hour ahead, and watched."""
    made = SetClock(NOW + HOUR)
    watch = asyncio.create_task(watch_clock(writer, made, every=LOOK))
    await made.is_looked_at()
    yield made
    watch.cancel()


async def test_case_136_a_retry_waits_less_by_the_step(
    waits: Callable[[], Awaitable[int]], clock: SetClock
) -> None:
    clock.wall = NOW
    await clock.is_looked_at()
    assert await waits() == WAIT


async def test_case_136_a_store_that_is_away_meanwhile_loses_no_step(
    waits: Callable[[], Awaitable[int]],
    clock: SetClock,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("soboo_mta.daemon.clock._AGAIN", 0.001)
    transact, troubles = writer.transact, [StoreUnavailable("away")] * 3

    async def troubled(function):
        if troubles:
            raise troubles.pop()
        return await transact(function)

    monkeypatch.setattr(writer, "transact", troubled)
    clock.wall = NOW
    await clock.is_looked_at(6)
    assert not troubles
    assert await waits() == WAIT


async def test_a_pause_between_two_readings_is_no_step(
    waits: Callable[[], Awaitable[int]], clock: SetClock
) -> None:
    clock.pause = 30.0
    await clock.is_looked_at(4)
    assert clock.pause == 0.0
    assert await waits() == HOUR + WAIT


@pytest.mark.parametrize("accepted_at", [NOW - HOUR, NOW + HOUR])
async def test_case_136_what_is_written_later_by_the_time_of_before_is_found(
    writer: Writer, clock: SetClock, accepted_at: int
) -> None:
    clock.wall = NOW
    await clock.is_looked_at()
    waits = await deferred_ahead(writer, accepted_at)  # by who stood still meanwhile
    await clock.is_looked_at()
    assert await waits() == HOUR + WAIT
    clock.elapsed += 10
    clock.wall += 10_000
    await clock.is_looked_at()
    assert await waits() == 10_000
