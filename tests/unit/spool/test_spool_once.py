"""One message for a client's key, on both stores, whoever tries at the same time."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.spooled import OnceKey, SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.once import KEPT_FOR, Kept
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import idempotency, message, recipient
from soboo_mta.store.unit import Fenced
from soboo_mta.store.writer import Writer, read_now
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message

KEY = OnceKey(scope="acme", key="order 4711", digest=b"d" * 32)


def spool_on(writer: Writer, clock: FakeClock) -> Spool:
    return Spool(
        writer=writer, lease=WorkerLease(writer=writer, clock=clock), clock=clock
    )


def keyed(number: int, key: OnceKey = KEY) -> SpooledMessage:
    return replace(a_message(number), once=key, accepted_at=FakeClock().unix_ms())


def rows(engine: Engine) -> dict[str, int]:
    tables = (message, recipient, idempotency)
    return {
        table.name: read_now(
            engine,
            lambda at, t=table: at.scalar(select(func.count()).select_from(t)) or 0,
        )
        for table in tables
    }


async def test_case_168_of_units_with_one_key_at_once_one_succeeds(
    engine: Engine, writer: Writer, clock: FakeClock
) -> None:
    """Two processes' writers, several units each, some in one group."""
    other = Writer(engine)
    await other.start()
    spools = [spool_on(one, clock) for one in (writer, other)]
    results = await asyncio.gather(
        *(
            spools[number % 2].accept(keyed(number), claim=False)
            for number in range(1, 13)
        ),
        return_exceptions=True,
    )
    await other.close()
    assert sum(not isinstance(one, BaseException) for one in results) == 1
    assert all(isinstance(one, Fenced) for one in results if isinstance(one, Exception))
    assert rows(engine) == {"message": 1, "recipient": 1, "idempotency": 1}
    kept = await spools[0].kept_under(KEY)
    winner = next(n for n, one in enumerate(results, 1) if one is False)
    assert kept == Kept(MessageId(winner), KEY.digest)


async def test_neighbours_in_a_group_are_kept_where_a_key_is_taken(
    engine: Engine, writer: Writer, clock: FakeClock
) -> None:
    spool = spool_on(writer, clock)
    await spool.accept(keyed(1), claim=False)
    results = await asyncio.gather(
        spool.accept(a_message(2), claim=False),
        spool.accept(keyed(3), claim=False),
        spool.accept(keyed(4, replace(KEY, key="another")), claim=False),
        return_exceptions=True,
    )
    assert [isinstance(one, Fenced) for one in results] == [False, True, False]
    assert rows(engine)["message"] == 3


async def test_case_058_a_key_belongs_to_its_scope(
    writer: Writer, clock: FakeClock
) -> None:
    spool = spool_on(writer, clock)
    await spool.accept(keyed(1), claim=False)
    assert await spool.kept_under(replace(KEY, scope="other")) is None
    await spool.accept(keyed(2, replace(KEY, scope="other")), claim=False)


async def test_a_key_is_free_after_its_time_and_is_swept(
    engine: Engine, writer: Writer, clock: FakeClock
) -> None:
    spool = spool_on(writer, clock)
    await spool.accept(at(clock, keyed(1)), claim=False)
    clock.advance((KEPT_FOR - timedelta(seconds=1)).total_seconds())
    with pytest.raises(Fenced):
        await spool.accept(at(clock, keyed(2)), claim=False)
    clock.advance(1)
    assert await spool.kept_under(KEY) is None
    await spool.accept(at(clock, keyed(3)), claim=False)
    assert (await spool.kept_under(KEY)) == Kept(MessageId(3), KEY.digest)
    clock.advance(KEPT_FOR.total_seconds())
    await spool.sweep()
    assert rows(engine)["idempotency"] == 0


def at(clock: FakeClock, message: SpooledMessage) -> SpooledMessage:
    return replace(message, accepted_at=clock.unix_ms())
