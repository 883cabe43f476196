"""A claim in doubt: its commit was reported as failed, and may stand all the same."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import Connection, Engine

from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.unit import StoreError, StoreUnavailable
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


class Unsure(Writer):
    """Where it is unsure: commits, and reports a failure, as after a broken sync."""

    is_unsure = False

    async def transact(self, function: Callable[[Connection], T]) -> T:
        value = await super().transact(function)
        if self.is_unsure:
            raise StoreUnavailable("disk I/O error")
        return value


async def made(writer: Writer, clock: FakeClock) -> tuple[WorkerLease, Spool]:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return lease, Spool(writer=writer, lease=lease, clock=clock)


async def test_a_claim_of_due_mail_that_nobody_knows_of_comes_due_again(
    engine: Engine, clock: FakeClock
) -> None:
    writer = Unsure(engine)
    await writer.start()
    try:
        lease, spool = await made(writer, clock)
        await spool.accept(MESSAGE, claim=False)
        writer.is_unsure = True
        with pytest.raises(StoreUnavailable):
            await spool.claim_due(10)
        writer.is_unsure = False
        assert not await lease.renew(0)
        await lease.register(host="test", process=1)
        (claimed,) = await spool.claim_due(10)
        assert claimed.message == MESSAGE
    finally:
        await writer.close()


async def test_a_commit_that_surely_failed_costs_no_lease(
    writer: Writer, clock: FakeClock
) -> None:
    lease, spool = await made(writer, clock)
    await spool.accept(MESSAGE, claim=True)
    with pytest.raises(StoreError):
        await spool.accept(MESSAGE, claim=True)  # the id is taken
    assert lease.may_start_attempt
