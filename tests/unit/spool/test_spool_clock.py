"""A wall clock that is set ahead, or back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select

from soboo_mta.mail.outcome import Deferred, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.moves.rounds import pull_forward
from soboo_mta.spool.operator.moves import hold
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message

DAY = 86_400_000
LATER = Deferred(
    reply=reply(450, "4.2.0", "later"), reason=Reason.REPLY, scope=Scope.MESSAGE
)


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock) -> Spool:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return Spool(writer=writer, lease=lease, clock=clock)


def due(connection: Connection) -> dict[int, int]:
    rows = connection.execute(select(recipient.c.message_id, recipient.c.due_at))
    return {row.message_id: row.due_at for row in rows}


async def test_case_136_a_clock_set_back_leaves_no_mail_waiting_for_it(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    """What was put off while it stood forty days ahead is due again at the next sweep; a
    hold and a release that its sender asked for stay as they are."""
    now = clock.unix_ms()
    for number in (1, 2, 3):
        await spool.accept(a_message(number), claim=False)
    ahead = now + 40 * DAY
    for claimed in await spool.claim_due(3):
        unit = spool.settlement(claimed, LATER, at=ahead, due_at=ahead + 300_000)
        await writer.commit(unit)
    held = Selection(message_id=a_message(2).message_id)
    await writer.transact(lambda at: hold(at, held, "by hand"))
    await spool.accept(a_message(4), claim=False, due_at=now + 30 * DAY)
    before = await writer.read(due)
    assert await spool.sweep() == 2
    after = await writer.read(due)
    assert (after[1], after[3]) == (now, now)
    assert (after[2], after[4]) == (before[2], now + 30 * DAY)
    assert {one.message.message_id for one in await spool.claim_due(9)} == {1, 3}


async def test_case_136_retries_wait_less_by_what_the_clock_is_set_back(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    hour = timedelta(hours=1)
    now = clock.unix_ms()
    ahead = now + 3_600_000
    for number, wait in ((1, 60_000), (2, 1), (3, 60_000)):
        await spool.accept(a_message(number), claim=False)
        (claimed,) = await spool.claim_due(1)
        unit = spool.settlement(claimed, LATER, at=ahead, due_at=ahead + wait)
        await writer.commit(unit)
    held = Selection(message_id=a_message(3).message_id)
    await writer.transact(lambda at: hold(at, held, "by hand"))
    await spool.accept(a_message(4), claim=False, due_at=ahead)
    before = await writer.read(due)
    await pull_forward(writer, hour, now=now)
    after = await writer.read(due)
    assert (after[1], after[2]) == (now + 60_000, now + 1)
    assert (after[3], after[4]) == (before[3], before[4])
    await pull_forward(writer, hour, now=now)
    assert (await writer.read(due))[1] == now


async def test_a_retry_within_the_longest_wait_is_left_alone(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    now = clock.unix_ms()
    await spool.accept(a_message(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    unit = spool.settlement(claimed, LATER, at=now, due_at=now + 5 * 3_600_000)
    await writer.commit(unit)
    assert await spool.sweep() == 0
    assert (await writer.read(due))[1] == now + 5 * 3_600_000


async def test_a_turn_far_away_is_no_clock_s_doing(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    """A line may be longer than any retry waits: the sweep lets nobody pass it."""
    now = clock.unix_ms()
    for number in (1, 2):
        await spool.accept(a_message(number), claim=False)
    one, other = await spool.claim_due(2)
    for claimed, due_at in ((one, now + 3 * DAY), (other, now + 300_000)):
        unit = spool.given_back(claimed, reason=Reason.SLOWED, due_at=due_at)
        await writer.commit(unit)
    assert await spool.sweep() == 0
    assert set((await writer.read(due)).values()) == {now + 3 * DAY, now + 300_000}


async def test_what_a_clock_set_back_leaves_in_line_asks_for_its_turn_again(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    now = clock.unix_ms()
    await spool.accept(
        replace(a_message(1), accepted_at=now + DAY), claim=False, due_at=now
    )
    (claimed,) = await spool.claim_due(1)
    unit = spool.given_back(claimed, reason=Reason.SLOWED, due_at=now + DAY + 1_000)
    await writer.commit(unit)
    assert await spool.sweep() == 1
    (again,) = await spool.claim_due(1)
    assert not again.had_turn
