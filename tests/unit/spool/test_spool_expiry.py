"""Mail held for longer than its life ends, and says which record was to be mended."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from soboo_mta.events.trace import trace
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Delivered, Held, Reason
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.operator.moves import close_gate, hold, open_gate
from soboo_mta.spool.operator.orders import HoldScope, StandingHold
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import message, recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock

LIFE = 1_000  # seconds
WHY = "mend bounce.example.com. CNAME t.b.esp.example."
BROKEN = Held(reason=Reason.DOMAIN_BROKEN, explanation=WHY)


def spooled(number: int, *, recipients: int = 1) -> SpooledMessage:
    return SpooledMessage(
        message_id=MessageId(number),
        tenant=TenantId("acme"),
        domain_id=DomainId(7),
        credential=None,
        reverse_path=NULL_REVERSE_PATH,
        author=parse_mailbox("a@example.com"),
        recipients=tuple(parse_mailbox(f"r{n}@example.net") for n in range(recipients)),
        header_message_id=f"<{number}@example.com>",
        client="192.0.2.1",
        eight_bit=False,
        smtputf8=False,
        body_hash=b"\0" * 32,
        accepted_at=FakeClock().unix_ms(),
        expires_at=FakeClock().unix_ms() + LIFE * 1_000,
        content=b"From: a@example.com\r\n\r\nhello\r\n",
    )


@pytest.fixture
async def lease(writer: Writer, clock: FakeClock) -> WorkerLease:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return lease


@pytest.fixture
def spool(writer: Writer, lease: WorkerLease, clock: FakeClock) -> Spool:
    return Spool(writer=writer, lease=lease, clock=clock)


def states(connection: Connection) -> list[tuple[str, str]]:
    query = select(recipient.c.state, recipient.c.reason).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return [(row.state, row.reason) for row in connection.execute(query)]


def contents(connection: Connection) -> list[bool]:
    query = select(message.c.content.is_not(None)).order_by(message.c.id)
    return [bool(found) for found in connection.scalars(query)]


async def test_mail_behind_a_gate_expires_with_the_record_to_mend(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1, recipients=2), claim=False)
    one, two = await spool.claim_due(10)
    at = clock.unix_ms()
    ok = Delivered(reply=reply(250, "2.0.0", "taken"))
    await writer.commit(spool.settlement(one, ok, at=at, due_at=None))
    await writer.commit(spool.settlement(two, BROKEN, at=at, due_at=None))
    await spool.close_gate("domain", "7", Reason.DOMAIN_BROKEN, WHY)
    clock.advance(LIFE - 1)
    assert await spool.sweep() == 0
    clock.advance(1)
    assert await spool.sweep() == 1
    assert await writer.read(states) == [
        ("delivered", "reply"),
        ("expired", "lifetime"),
    ]
    assert await writer.read(contents) == [False]
    told = await writer.read(lambda at: trace(at, MessageId(1), own_rules()))
    assert told is not None
    (last,) = told.attempts
    assert (last.outcome, last.reason, last.reply) == ("expired", "lifetime", WHY)
    assert await spool.sweep() == 0


async def test_mail_of_a_suspended_tenant_expires_as_well(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=False)
    await spool.close_gate("tenant", "acme", Reason.TENANT_SUSPENDED, "suspended")
    clock.advance(LIFE)
    assert await spool.sweep() == 1
    assert await writer.read(states) == [("expired", "lifetime")]


async def test_mail_held_for_complaints_expires_and_the_tenant_s_reports_go_on(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    report = replace(spooled(2), domain_id=DomainId(-7))
    for one in (spooled(1), report):
        await spool.accept(one, claim=False)
    told = StandingHold(
        scope=HoldScope.TENANT,
        subject="acme",
        explanation="0.40 %",
        reason=Reason.COMPLAINTS,
    )
    held = Held(reason=Reason.COMPLAINTS, explanation="0.40 %", gate="tenant acme")
    mail, other = await spool.claim_due(10)
    await writer.transact(lambda at: close_gate(at, told))
    at = clock.unix_ms()
    for one in (mail, other):
        outcome = held if one.message.domain_id > 0 else None
        unit = (
            spool.settlement(one, outcome, at=at, due_at=None)
            if outcome
            else spool.given_back(one, reason=Reason.CAPACITY, due_at=at)
        )
        await writer.commit(unit)
    assert [one.message.is_report for one in await spool.claim_due(10)] == [True]
    clock.advance(LIFE)
    assert await spool.sweep() == 1
    assert ("expired", "lifetime") in await writer.read(states)
    found = await writer.read(lambda at: trace(at, MessageId(1), own_rules()))
    assert found is not None
    assert "0.40 %" in found.attempts[-1].reply


async def test_mail_held_for_complaints_is_due_when_its_gate_opens(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=False)
    (one,) = await spool.claim_due(10)
    told = StandingHold(
        scope=HoldScope.DOMAIN, subject="7", explanation="", reason=Reason.COMPLAINTS
    )
    await writer.transact(lambda at: close_gate(at, told))
    held = Held(reason=Reason.COMPLAINTS, explanation="", gate="domain 7")
    at = clock.unix_ms()
    await writer.commit(spool.settlement(one, held, at=at, due_at=None))
    assert await spool.claim_due(10) == ()
    await writer.transact(
        lambda at: open_gate(at, HoldScope.DOMAIN, "7", reason=Reason.COMPLAINTS)
    )
    assert len(await spool.claim_due(10)) == 1


async def test_what_no_gate_keeps_or_a_hand_holds_is_left(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=False)
    clock.advance(LIFE)
    assert await spool.sweep() == 0  # it is tried once more
    await writer.transact(
        lambda at: hold(at, Selection(message_id=MessageId(1)), "by hand")
    )
    await spool.close_gate("domain", "7", Reason.DOMAIN_BROKEN, WHY)
    assert await spool.sweep() == 0
    assert await writer.read(states) == [("held", "operator-hold")]
    assert await writer.read(contents) == [True]
