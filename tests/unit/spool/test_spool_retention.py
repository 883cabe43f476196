"""What was settled is kept as long as is set, and then goes in small transactions."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, Table, func, insert, select, update

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.moves.sweep import sweep_once
from soboo_mta.spool.operator.orders import Reroute, add_reroute
from soboo_mta.spool.spool import Spool, SpoolOptions
from soboo_mta.store.schema import attempt, event, message, recipient, reroute
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message, a_verp_signer

DAY = 86_400_000
_MOST_ROWS = 1_000  # of one write transaction
_ATTEMPT = {
    "position": 0,
    "at": 0,
    "outcome": "deferred",
    **dict.fromkeys(("reason", "reply", "host", "source", "tls"), ""),
    "duration_ms": 0,
    "dialogue": "S: 451 busy",
}


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock) -> Spool:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    options = SpoolOptions(keep=timedelta(days=30))
    return Spool(writer=writer, lease=lease, clock=clock, options=options)


async def settle(writer: Writer, number: int, at: int) -> None:
    def work(connection: Connection) -> None:
        this = recipient.c.message_id == number
        connection.execute(update(recipient).where(this).values(state="delivered"))
        connection.execute(
            update(message).where(message.c.id == number).values(settled_at=at)
        )

    await writer.transact(work)


async def happened(writer: Writer, number: int, *, attempts: int, events: int) -> None:
    def work(connection: Connection) -> None:
        rows = [{**_ATTEMPT, "message_id": number}] * attempts
        connection.execute(insert(attempt), rows)
        told = {"at": 0, "kind": "message-held", "actor": "cli", "detail": "{}"}
        connection.execute(insert(event), [{**told, "message_id": number}] * events)

    await writer.transact(work)


async def count(writer: Writer, table: Table) -> int:
    query = select(func.count()).select_from(table)
    return await writer.read(lambda at: at.scalar(query) or 0)


async def test_a_message_goes_with_all_that_is_known_of_it_in_pieces(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    now = clock.unix_ms()
    for number in (1, 2):
        await spool.accept(a_message(number), claim=False)
        await happened(writer, number, attempts=1_200, events=700)
    await settle(writer, 1, now - 31 * DAY)
    await settle(writer, 2, now - 29 * DAY)
    pieces = []
    while gone := await writer.transact(
        lambda at: sweep_once(at, settled_before=now - 30 * DAY, staged_before=0)
    ):
        pieces.append(gone)
    assert len(pieces) >= 4
    assert max(pieces) <= _MOST_ROWS
    left = [await count(writer, one) for one in (message, recipient, attempt, event)]
    assert left == [1, 1, 1_200, 700]  # of the younger one


async def test_a_message_is_known_while_an_unsubscribe_address_of_it_lives(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    kept_for, hour = 30 * DAY, DAY // 24
    await spool.accept(a_message(1), claim=False)
    left_at = clock.unix_ms()
    await settle(writer, 1, left_at)
    address = a_verp_signer().unsubscribe_address(
        MessageId(1), 0, left_at + kept_for, Domain("bounce.customer.example")
    )
    clock.advance((kept_for + hour - 1) / 1_000)  # the last that it can live
    token = a_verp_signer().open_unsubscribe(
        address.local_part, address.domain, left_at + kept_for - 1
    )
    assert token is not None
    assert token.expires_at_ms <= clock.unix_ms() + 1
    await spool.sweep()
    assert await count(writer, message) == 1
    clock.advance(1)  # second
    await spool.sweep()
    assert await count(writer, message) == 0


async def test_what_still_waits_is_never_swept_however_old(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1), claim=False)
    await happened(writer, 1, attempts=3, events=2)
    clock.advance(400 * 86_400)
    await spool.sweep()
    tables = (message, recipient, attempt, event)
    assert [await count(writer, one) for one in tables] == [1, 1, 3, 2]


async def test_events_of_no_message_and_spent_reroutes_go_when_they_are_old(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    now = clock.unix_ms()

    def fill(connection: Connection) -> None:
        told = {"kind": "gate-closed", "actor": "cli", "detail": "{}"}
        ages = [31 * DAY] * 1_500 + [29 * DAY]
        connection.execute(insert(event), [{**told, "at": now - age} for age in ages])
        for accepted_before in (now - 31 * DAY, now - 29 * DAY, None):
            order = Reroute(
                accepted_before=accepted_before,
                next_hops=("192.0.2.1:25",),
                explanation="",
                since=now - 40 * DAY,
            )
            add_reroute(connection, order)

    await writer.transact(fill)
    assert await spool.sweep() == 1_501
    assert await count(writer, event) == 1
    assert await count(writer, reroute) == 2  # a standing one has no end
