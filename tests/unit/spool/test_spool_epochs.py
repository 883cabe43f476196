"""A lease taken anew while a claim was being made: the claim is not the new lease's."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine

from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.unit import Statement
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock

T = TypeVar("T")
MESSAGE = SpooledMessage(
    message_id=MessageId(7),
    tenant=TenantId("acme"),
    domain_id=DomainId(1),
    credential=None,
    reverse_path=NULL_REVERSE_PATH,
    author=parse_mailbox("a@example.com"),
    recipients=(parse_mailbox("r@example.net"),),
    header_message_id="<7@example.com>",
    client="192.0.2.1",
    eight_bit=False,
    smtputf8=False,
    body_hash=b"\0" * 32,
    accepted_at=FakeClock().unix_ms(),
    expires_at=FakeClock().unix_ms() + 1_000_000,
    content=b"From: a@example.com\r\n\r\nhello\r\n",
)


class LosingTheLease(Writer):
    """Loses the lease, and takes it anew, behind the next commit or claim."""

    lease: WorkerLease | None = None

    async def commit(self, unit: Sequence[Statement]) -> None:
        await super().commit(unit)
        await self._lose()

    async def transact(self, function: Callable[[Connection], T]) -> T:
        result = await super().transact(function)
        if getattr(function, "__name__", "") == "claim":
            await self._lose()
        return result

    async def _lose(self) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            await lease.release()
            await lease.register(host="test", process=1)


async def a_spool(writer: Writer, clock: FakeClock) -> tuple[Spool, WorkerLease]:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return Spool(writer=writer, lease=lease, clock=clock), lease


async def test_a_message_accepted_under_the_lease_before_is_not_offered(
    engine: Engine, clock: FakeClock
) -> None:
    writer = LosingTheLease(engine)
    await writer.start()
    try:
        spool, writer.lease = await a_spool(writer, clock)
        assert await spool.accept(MESSAGE, claim=True) is False
        (claimed,) = await spool.claim_due(10)  # taken over like any dead lease's
        assert claimed.message == MESSAGE
    finally:
        await writer.close()


async def test_what_was_claimed_under_the_lease_before_is_not_tried(
    engine: Engine, clock: FakeClock
) -> None:
    writer = LosingTheLease(engine)
    await writer.start()
    try:
        spool, lease = await a_spool(writer, clock)
        await spool.accept(MESSAGE, claim=False)
        writer.lease = lease
        assert await spool.claim_due(10) == ()
        (claimed,) = await spool.claim_due(10)
        assert claimed.message == MESSAGE
    finally:
        await writer.close()
