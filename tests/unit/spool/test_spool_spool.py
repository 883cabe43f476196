"""The spool on both stores: accepted is kept, claims are fair, lost claims do nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, func, select

from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.spool.content import PIECE_OCTETS
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.moves.claim import Leaving
from soboo_mta.spool.operator.moves import cancel, hold, release
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.spool.view import list_waiting, show, why
from soboo_mta.store.schema import message, piece, recipient
from soboo_mta.store.unit import Fenced
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock

OK = Delivered(reply=reply(250, "2.0.0", "taken"))
LATER = Deferred(
    reply=reply(451, "4.7.1", "greylisted"), reason=Reason.REPLY, scope=Scope.RECIPIENT
)
BROKEN = Held(reason=Reason.DOMAIN_BROKEN, explanation="mend bounce.example.com")


def spooled(
    number: int,
    *,
    recipients: int = 1,
    tenant: str = "acme",
    domain_id: int = 1,
    content: bytes = b"From: a@example.com\r\n\r\nhello\r\n",
) -> SpooledMessage:
    return SpooledMessage(
        message_id=MessageId(number),
        tenant=TenantId(tenant),
        domain_id=DomainId(domain_id),
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
        expires_at=FakeClock().unix_ms() + 1_000_000,
        content=content,
    )


async def make_lease(writer: Writer, clock: FakeClock) -> WorkerLease:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    return lease


@pytest.fixture
async def lease(writer: Writer, clock: FakeClock) -> WorkerLease:
    return await make_lease(writer, clock)


@pytest.fixture
def spool(writer: Writer, lease: WorkerLease, clock: FakeClock) -> Spool:
    return Spool(writer=writer, lease=lease, clock=clock)


@pytest.fixture
async def other(engine: Engine, clock: FakeClock) -> AsyncIterator[Spool]:
    """The spool of a second worker, with a writer of its own."""
    writer = Writer(engine)
    await writer.start()
    lease = await make_lease(writer, clock)
    yield Spool(writer=writer, lease=lease, clock=clock)
    await writer.close()


def states(connection: Connection) -> list[str]:
    query = select(recipient.c.state).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return list(connection.scalars(query))


async def test_message_is_read_back_as_it_was_accepted(spool: Spool) -> None:
    given = spooled(1, recipients=3)
    assert await spool.accept(given, claim=False) is False
    claimed = await spool.claim_due(10)
    assert [(one.message, one.position) for one in claimed] == [
        (given, 0),
        (given, 1),
        (given, 2),
    ]


async def test_claimed_message_is_not_given_to_another_worker(
    spool: Spool, other: Spool
) -> None:
    assert await spool.accept(spooled(1), claim=True) is True
    assert await other.claim_due(10) == ()


async def test_case_132_two_workers_never_claim_the_same_recipient(
    spool: Spool, other: Spool
) -> None:
    for number in range(20):
        await spool.accept(spooled(number + 1), claim=False)
    mine, theirs = await spool.claim_due(12), await other.claim_due(12)
    both = [one.message.message_id for one in (*mine, *theirs)]
    assert len(mine) == 12
    assert sorted(both) == list(range(1, 21))


async def test_acceptance_under_a_lost_lease_claims_nothing(
    spool: Spool, other: Spool, clock: FakeClock
) -> None:
    clock.advance(4)  # 5 s less the margin of 2
    assert await spool.accept(spooled(1), claim=True) is False
    assert await spool.claim_due(1) == ()


async def test_case_139_dead_workers_claims_are_taken_over_and_its_settlement_does_nothing(
    spool: Spool, engine: Engine, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=True)
    mine = Claimed(message=spooled(1), position=0, attempts=0)
    clock.advance(6)
    writer = Writer(engine)
    await writer.start()
    try:
        lease = await make_lease(writer, clock)
        successor = Spool(writer=writer, lease=lease, clock=clock)
        (taken,) = await successor.claim_due(10)
        assert taken.message == mine.message
        unit = spool.settlement(mine, OK, at=clock.unix_ms(), due_at=None)
        with pytest.raises(Fenced):
            await writer.commit(unit)
        with engine.connect() as connection:
            assert states(connection) == ["active"]
        done = successor.settlement(taken, OK, at=clock.unix_ms(), due_at=None)
        await writer.commit(done)
        with engine.connect() as connection:
            assert states(connection) == ["delivered"]
    finally:
        await writer.close()


async def test_content_goes_with_the_last_recipient_and_not_before(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    given = spooled(1, recipients=2)
    await spool.accept(given, claim=True)
    for position, left in ((0, given.content), (1, None)):
        claimed = Claimed(message=given, position=position, attempts=0)
        unit = spool.settlement(claimed, OK, at=clock.unix_ms(), due_at=None)
        await writer.commit(unit)
        with engine.connect() as connection:
            content = connection.scalar(select(message.c.content))
            assert content == left
    with engine.connect() as connection:
        assert connection.scalar(select(message.c.settled_at)) == clock.unix_ms()


async def test_case_144_deferred_recipient_is_due_at_its_time_with_its_attempts_counted(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    due = clock.unix_ms() + 60_000
    unit = spool.settlement(claimed, LATER, at=clock.unix_ms(), due_at=due)
    await writer.commit(unit)
    assert await spool.claim_due(1) == ()
    # The lease must not run out on the way there.
    assert isinstance(spool._lease, WorkerLease)
    for _ in range(60):
        clock.advance(1)
        assert await spool._lease.renew(0)
    (again,) = await spool.claim_due(1)
    assert again.attempts == 1


async def test_expired_is_told_from_failed(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    given = spooled(1, recipients=2)
    await spool.accept(given, claim=True)
    for position, reason in ((0, Reason.LIFETIME), (1, Reason.REPLY)):
        outcome = Failed(
            reply=reply(550, "5.4.7", "no"), reason=reason, scope=Scope.RECIPIENT
        )
        claimed = Claimed(message=given, position=position, attempts=0)
        await writer.commit(
            spool.settlement(claimed, outcome, at=clock.unix_ms(), due_at=None)
        )
    with engine.connect() as connection:
        assert states(connection) == ["expired", "failed"]


async def test_case_060_no_tenant_takes_more_than_its_share_of_a_claim(
    spool: Spool,
) -> None:
    for number in range(30):
        await spool.accept(spooled(number + 1, tenant="big"), claim=False)
    for number in range(2):
        await spool.accept(
            spooled(number + 101, tenant="small", domain_id=2), claim=False
        )
    await spool.accept(spooled(201, tenant="third", domain_id=3), claim=False)
    claimed = await spool.claim_due(9)
    tenants = [one.message.tenant for one in claimed]
    assert tenants.count(TenantId("small")) == 2
    assert tenants.count(TenantId("third")) == 1
    assert tenants.count(TenantId("big")) == 6  # what the others did not use


async def test_tenants_over_the_limit_get_their_turn_in_the_next_claim(
    spool: Spool,
) -> None:
    for number in range(4):
        for domain in range(1, 5):
            await spool.accept(
                spooled(number * 10 + domain, tenant=f"t{domain}", domain_id=domain),
                claim=False,
            )
    first = {one.message.tenant for one in await spool.claim_due(2)}
    second = {one.message.tenant for one in await spool.claim_due(2)}
    assert first | second == {TenantId(f"t{n}") for n in range(1, 5)}


async def test_excluded_destinations_wait(spool: Spool) -> None:
    await spool.accept(spooled(1), claim=False)
    assert await spool.claim_due(1, leaving=Leaving(domains={"example.net"})) == ()
    assert len(await spool.claim_due(1)) == 1


async def test_a_claim_leaves_a_tenant_or_its_mail_for_a_domain_alone(
    spool: Spool,
) -> None:
    elsewhere = (parse_mailbox("r@example.org"),)
    await spool.accept(spooled(1, tenant="acme"), claim=False)
    await spool.accept(spooled(2, tenant="zeta", domain_id=2), claim=False)
    third = replace(spooled(3, tenant="zeta", domain_id=2), recipients=elsewhere)
    await spool.accept(third, claim=False)
    leaving = Leaving(tenants={"acme"}, of_tenant={"zeta": {"example.org"}})
    claimed = await spool.claim_due(9, leaving=leaving)
    assert [one.message.message_id for one in claimed] == [2]
    assert {one.message.message_id for one in await spool.claim_due(9)} == {1, 3}


@pytest.mark.parametrize(("scope", "subject"), [("domain", "1"), ("tenant", "acme")])
async def test_mail_behind_a_closed_gate_waits_and_says_why(
    spool: Spool, writer: Writer, clock: FakeClock, scope: str, subject: str
) -> None:
    await spool.accept(spooled(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    unit = spool.settlement(claimed, BROKEN, at=clock.unix_ms(), due_at=None)
    closed = spool.gate_closed(scope, subject, Reason.DOMAIN_BROKEN, "mend it")
    await writer.commit([*unit, closed])
    await spool.accept(spooled(2), claim=False)
    await spool.accept(spooled(3, tenant="free", domain_id=2), claim=False)
    assert [one.message.message_id for one in await spool.claim_due(9)] == [3]
    waiting = await writer.read(lambda c: why(c, MessageId(2)))
    assert [(one.reason, one.explanation) for one in waiting] == [
        (Reason.DOMAIN_BROKEN, "mend it")
    ]
    assert [gate.subject for gate in await spool.gates()] == [subject]
    await spool.open_gate(scope, subject)
    assert {one.message.message_id for one in await spool.claim_due(9)} == {1, 2}


async def test_large_content_is_staged_in_pieces_and_dropped_when_settled(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    content = b"A: b\r\n\r\n" + b"x" * PIECE_OCTETS * 2
    await spool.accept(spooled(1, content=content), claim=False)
    (claimed,) = await spool.claim_due(1)
    assert claimed.message.content == content
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(piece)) == 3
        assert connection.scalar(select(message.c.content)) is None
    unit = spool.settlement(claimed, OK, at=clock.unix_ms(), due_at=None)
    await writer.commit(unit)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(piece)) == 0


async def test_very_large_content_is_swept_in_small_transactions(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    content = b"A: b\r\n\r\n" + b"x" * PIECE_OCTETS * 5
    await spool.accept(spooled(1, content=content), claim=True)
    claimed = Claimed(message=spooled(1, content=content), position=0, attempts=0)
    unit = spool.settlement(claimed, OK, at=clock.unix_ms(), due_at=None)
    await writer.commit(unit)
    await spool.sweep()
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(piece)) == 0


async def test_case_130_pieces_of_a_broken_submission_are_swept_once_old(
    writer: Writer, spool: Spool, engine: Engine, clock: FakeClock
) -> None:
    from soboo_mta.spool.content import staged

    await writer.commit([staged(MessageId(7), 0, b"octets", clock.unix_ms())])
    assert await spool.sweep() == 0
    clock.advance(3_601)
    assert await spool.sweep() == 1


async def test_claim_stops_at_the_octets_it_may_read(
    spool: Spool, writer: Writer, clock: FakeClock, lease: WorkerLease
) -> None:
    from soboo_mta.spool.spool import SpoolOptions

    small = Spool(
        writer=writer, lease=lease, clock=clock, options=SpoolOptions(claim_octets=50)
    )
    for number in (1, 2, 3):
        await spool.accept(spooled(number), claim=False)
    assert len(await small.claim_due(10)) == 1


async def test_claim_given_back_is_due_untried(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    unit = spool.given_back(claimed, reason=Reason.CAPACITY, due_at=clock.unix_ms())
    await writer.commit(unit)
    (again,) = await spool.claim_due(1)
    assert again.attempts == 0


async def test_case_140_operator_holds_releases_and_cancels(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    one = MessageId(1)
    this = Selection(message_id=one)
    await spool.accept(spooled(1), claim=False)
    assert await writer.transact(lambda c: hold(c, this, "asked to")) == {one: 1}
    assert await spool.claim_due(1) == ()
    now = clock.unix_ms()
    assert await writer.transact(lambda c: release(c, this, now)) == {one: 1}
    assert await writer.transact(lambda c: cancel(c, this, now)) == {one: 1}
    assert await spool.claim_due(1) == ()
    found = await writer.read(lambda c: show(c, one))
    assert found is not None
    assert found.settled_at == now
    assert [entry.state for entry in found.recipients] == ["cancelled"]
    assert await writer.read(list_waiting) == ()


async def test_case_140_cancel_leaves_what_is_being_tried(
    spool: Spool, writer: Writer
) -> None:
    await spool.accept(spooled(1), claim=True)
    this = Selection(message_id=MessageId(1))
    assert await writer.transact(lambda c: cancel(c, this, 0)) == {}


async def test_settled_messages_are_kept_for_the_set_time_and_then_gone(
    spool: Spool, writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    await spool.accept(spooled(1), claim=True)
    await spool.accept(spooled(2), claim=False)
    claimed = Claimed(message=spooled(1), position=0, attempts=0)
    unit = spool.settlement(claimed, OK, at=clock.unix_ms(), due_at=None)
    await writer.commit(unit)
    clock.advance(29 * 86_400)
    await spool.sweep()
    assert await writer.read(lambda c: show(c, MessageId(1))) is not None
    clock.advance(2 * 86_400)
    await spool.sweep()
    with engine.connect() as connection:
        assert list(connection.scalars(select(message.c.id))) == [2]
        assert list(connection.scalars(select(recipient.c.message_id))) == [2]


async def test_case_130_duplicate_message_id_is_refused_and_the_first_kept(
    spool: Spool,
) -> None:
    from soboo_mta.store.unit import StoreError

    await spool.accept(spooled(1), claim=False)
    with pytest.raises(StoreError):
        await spool.accept(replace(spooled(1), client="other"), claim=False)
    (claimed,) = await spool.claim_due(5)
    assert claimed.message.client == "192.0.2.1"
