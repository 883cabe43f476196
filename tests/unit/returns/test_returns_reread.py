"""What nobody recognised is read once more when somebody asks: with all that follows."""

from soboo_mta.events.event import EventKind
from soboo_mta.spool.returned.claiming import reopen
from tests.fakes.returns import ReturnDesk, a_delivered_message
from tests.unit.formats.returned_examples import mail
from tests.unit.returns.test_returns_reading import (
    COMPLAINT,
    UNKNOWN,
    bring,
    kept,
    one,
    states,
)

__all__ = ["one"]  # the fixture


async def unread(desk: ReturnDesk, octets: bytes, to: str) -> None:
    """Bring a return that ends each of its readers, as if no process could be had."""
    desk.readers.deadly = octets
    await bring(desk, octets, to)
    for _ in range(3):
        await desk.read_all()
        desk.clock.advance(31)
    desk.readers.deadly = b"\0never"
    assert (await kept(desk))[-1].kind == "unrecognised"


async def reopened(desk: ReturnDesk, returned_id: int | None = None) -> int:
    now = desk.clock.unix_ms()
    return len(
        await desk.writer.transact(
            lambda at: reopen(at, now=now, returned_id=returned_id)
        )
    )


async def test_a_bounce_that_ended_its_readers_is_charged_after_all(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await unread(one, UNKNOWN, one.address())
    assert await states(one) == ["delivered"]
    assert await reopened(one) == 1
    await one.read_all()

    (found,) = await kept(one)
    assert (found.kind, found.bounce_class, found.reads) == (
        "dsn",
        "invalid-mailbox",
        1,
    )
    assert await states(one) == ["returned"]
    assert await one.told() == [EventKind.RETURN_UNRECOGNISED, EventKind.RETURNED]
    assert await reopened(one) == 0  # it is recognised


async def test_a_claim_does_not_become_proof_by_being_read_again(
    one: ReturnDesk,
) -> None:
    """A complaint that names a message by its Message-ID changes nothing, ever."""
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await bring(one, mail("?", References="<1@customer.com>"), "fbl@esp.example")
    await unread(one, COMPLAINT, "fbl@esp.example")
    for _ in range(2):
        await reopened(one)
        await one.read_all()

    found = await kept(one)
    assert [each.kind for each in found][-1] == "complaint"
    assert one.consequences.done == []


async def test_one_is_read_again_by_its_number(one: ReturnDesk) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    for _ in range(2):
        await unread(one, UNKNOWN, one.address())
    first, second = await kept(one)
    assert await reopened(one, second.returned_id) == 1
    await one.read_all()
    assert [each.kind for each in await kept(one)] == ["unrecognised", "dsn"]
    assert await reopened(one, 99_999) == 0
    assert await reopened(one, first.returned_id) == 1
