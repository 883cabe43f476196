"""Turns: tenants, a tenant's domains, and an operator beside a worker."""

import asyncio

import pytest
from sqlalchemy import Engine, select, text

from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.operator.moves import cancel
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import message, recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import OK, a_message


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock) -> Spool:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="a", process=1)
    return Spool(writer=writer, lease=lease, clock=clock)


async def test_what_is_due_at_the_very_end_of_its_life_had_no_turn(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    end = clock.unix_ms() + 1_000
    for number in (1, 2, 3):
        await spool.accept(a_message(number, expires_at=end), claim=False)
    one, other, late = await spool.claim_due(3)
    for claimed, due_at in ((one, end - 1), (other, end), (late, end + 1)):
        unit = spool.given_back(claimed, reason=Reason.SLOWED, due_at=due_at)
        await writer.commit(unit)
    clock.advance(2)
    found = {
        one.message.message_id: (one.had_turn, one.waited_out)
        for one in await spool.claim_due(3)
    }
    assert found == {
        one.message.message_id: (True, False),
        other.message.message_id: (False, True),
        late.message.message_id: (True, False),
    }


async def test_each_domain_of_a_tenant_gets_its_turn(spool: Spool) -> None:
    for number in range(50):
        one = a_message(number + 1, domain_id=number // 10 + 1)
        await spool.accept(one, claim=False)
    served = set()
    for _ in range(3):
        served |= {one.message.domain_id for one in await spool.claim_due(3)}
    assert served == {1, 2, 3, 4, 5}


async def test_case_140_a_cancel_beside_the_last_delivery_lets_the_content_go(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    """On PostgreSQL neither would see the other's row as settled without the lock."""
    sent = a_message(1, to=("a@x.example", "b@x.example"))
    await spool.accept(sent, claim=True)
    this = Selection(message_id=sent.message_id)
    zero, one = (Claimed(message=sent, position=at, attempts=0) for at in (0, 1))
    await writer.commit(spool.given_back(one, reason=Reason.CAPACITY, due_at=0))
    unit = spool.settlement(zero, OK, at=clock.unix_ms(), due_at=None)
    if engine.dialect.name == "postgresql":
        with engine.connect() as operator, operator.begin():
            moved = cancel(operator, this, clock.unix_ms())
            assert moved.total() == 1
            settling = asyncio.create_task(writer.commit(unit))
            await _waits_for_a_lock(engine)
        await settling
    else:  # one writer at a time
        await writer.transact(lambda at: cancel(at, this, 1))
        await writer.commit(unit)
    state = select(recipient.c.state).order_by(recipient.c.position)
    states = await writer.read(lambda at: list(at.scalars(state)))
    assert states == ["delivered", "cancelled"]
    query = select(message.c.settled_at, message.c.content)
    left = await writer.read(lambda at: at.execute(query).one())
    assert left.settled_at is not None
    assert left.content is None


async def _waits_for_a_lock(engine: Engine) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(10):
        while True:
            with engine.connect() as onlooker:
                if onlooker.scalar(waiting):
                    return
            await asyncio.sleep(0.005)
