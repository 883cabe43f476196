"""A worker that may have forgotten a claim gives its lease up: the claim comes due again."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine

from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.unit import Statement, StoreUnavailable
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock

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


class LosingAnswers(Writer):
    """Commits, and then the answer is lost, as when a connection to the store breaks."""

    async def commit(self, unit: Sequence[Statement]) -> None:
        await super().commit(unit)
        raise StoreUnavailable("the answer was lost")


async def a_lease(writer: Writer, clock: FakeClock) -> WorkerLease:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return lease


async def test_a_lease_given_up_holds_nothing_and_is_not_renewed(
    writer: Writer, clock: FakeClock
) -> None:
    lease = await a_lease(writer, clock)
    lease.give_up()
    assert not lease.may_start_attempt
    assert not await lease.renew(0)
    assert not lease.may_start_attempt
    await lease.register(host="test", process=1)
    assert lease.may_start_attempt
    assert await lease.renew(0)


async def test_a_commit_whose_answer_was_lost_leaves_no_claim_behind(
    engine: Engine, clock: FakeClock
) -> None:
    writer = LosingAnswers(engine)
    await writer.start()
    try:
        lease = await a_lease(writer, clock)
        spool = Spool(writer=writer, lease=lease, clock=clock)
        with pytest.raises(StoreUnavailable):
            await spool.accept(MESSAGE, claim=True)
        assert not lease.may_start_attempt
        assert not await lease.renew(0)
        await lease.register(host="test", process=1)
        (claimed,) = await spool.claim_due(10)
        assert claimed.message.message_id == MESSAGE.message_id
    finally:
        await writer.close()
