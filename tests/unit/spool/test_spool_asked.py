"""What a sender asked to be told, and when a message is due, are kept as they were given."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient, Returned
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.spool.view import list_waiting
from soboo_mta.store.schema import message, recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message

ASKED = DsnRequest(
    returned=Returned.HEADERS,
    envelope_id="Order=17 b",
    asked=(
        Asked(
            notify=frozenset({Notify.SUCCESS, Notify.DELAY}),
            orcpt=OriginalRecipient("utf-8", "jörg;x@Dört.example"),
        ),
        Asked(),
        Asked(notify=frozenset({Notify.NEVER})),
    ),
)
THREE = ("a@there.example", "b@there.example", "c@there.example")


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock) -> Spool:
    lease = WorkerLease(
        writer=writer,
        clock=clock,
        store_now=lambda _: int(clock.monotonic() * 1_000),
    )
    await lease.register(host="test", process=1)
    return Spool(writer=writer, lease=lease, clock=clock)


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        replace(ASKED, returned=None, envelope_id=""),
        DsnRequest(envelope_id="x", asked=(Asked(),) * 3),
        None,
    ],
)
async def test_case_027_what_was_asked_is_read_back_as_it_was(
    spool: Spool, asked: DsnRequest | None
) -> None:
    await spool.accept(replace(a_message(1, to=THREE), dsn=asked), claim=False)
    claimed = await spool.claim_due(10)
    assert [one.position for one in claimed] == [0, 1, 2]
    assert claimed[0].message.dsn == asked
    assert not any(one.is_warned for one in claimed)


async def test_case_027_who_asked_for_nothing_has_empty_columns(
    spool: Spool, writer: Writer
) -> None:
    await spool.accept(a_message(1), claim=False)
    of_message = select(message.c.returned, message.c.envelope_id)
    of_recipient = select(recipient.c.notify, recipient.c.orcpt, recipient.c.warned_at)
    assert (await writer.read(lambda at: at.execute(of_message).one())) == (None,) * 2
    assert (await writer.read(lambda at: at.execute(of_recipient).one())) == (None,) * 3


async def test_case_165_a_scheduled_message_is_not_claimed_before_its_time(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    release = clock.unix_ms() + 5_000
    await spool.accept(a_message(1), claim=False, due_at=release)
    assert await spool.claim_due(10) == ()
    (entry,) = await writer.read(list_waiting)
    assert (entry.reason, entry.due_at) == (Reason.SCHEDULED, release)
    clock.jump(5)
    assert len(await spool.claim_due(10)) == 1
