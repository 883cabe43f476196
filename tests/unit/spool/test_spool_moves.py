"""An operator's moves: one gate row for much mail, pieces for the rest, nothing forgotten."""

from functools import partial

import pytest
from sqlalchemy import delete, func, select, update

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.settle import closing, opening
from soboo_mta.spool.operator import moves
from soboo_mta.spool.operator.orders import (
    HoldScope,
    Reroute,
    StandingHold,
    add_reroute,
    reroutes,
    standing_orders,
    undo_reroute,
)
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.operator.summary import GroupBy, summary
from soboo_mta.spool.spool import Spool
from soboo_mta.spool.view import list_waiting, why
from soboo_mta.store.schema import attempt, gate, message, recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message

EVERYTHING = Selection()
TO_X = Selection(destination="x.example")


def busy(text: str = "busy") -> Deferred:
    return Deferred(
        reply=reply(451, "4.3.2", text), reason=Reason.REPLY, scope=Scope.MESSAGE
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


async def states(writer: Writer) -> list[str]:
    query = select(recipient.c.state).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return await writer.read(lambda at: list(at.scalars(query)))


async def park(spool: Spool, writer: Writer, clock: FakeClock, name: str) -> None:
    """Claim what is due and hold it behind the operator's gate of that name."""
    held = Held(reason=Reason.OPERATOR_HOLD, explanation="asked", gate=name)
    for claimed in await spool.claim_due(500):
        unit = spool.settlement(claimed, held, at=clock.unix_ms(), due_at=None)
        await writer.commit(unit)


async def test_no_piece_moves_more_rows_than_a_transaction_may_have(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    for number in range(moves.PIECE + 50):
        await spool.accept(a_message(number + 1), claim=False)
    sizes = []
    while moved := await writer.transact(
        lambda at: moves.cancel(at, EVERYTHING, clock.unix_ms())
    ):
        sizes.append(moved.total())
    assert sizes == [moves.PIECE, 50]
    assert set(await states(writer)) == {"cancelled"}
    left = select(func.count()).where(message.c.content.is_not(None))
    assert await writer.read(lambda at: at.scalar(left)) == 0


async def test_case_140_a_move_leaves_what_is_being_tried(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1), claim=True)
    now = clock.unix_ms()
    for work in (
        lambda at: moves.hold(at, EVERYTHING, "no"),
        lambda at: moves.release(at, EVERYTHING, now),
        lambda at: moves.retry(at, EVERYTHING, now)[0],
        lambda at: moves.cancel(at, EVERYTHING, now),
    ):
        assert not await writer.transact(work)
    assert await states(writer) == ["active"]


async def test_a_retry_keeps_reason_and_attempts_and_is_due_now(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    later = clock.unix_ms() + 300_000
    unit = spool.settlement(claimed, busy(), at=0, due_at=later, site="mx.x.example")
    await writer.commit(unit)
    now = clock.unix_ms()
    moved, place = await writer.transact(lambda at: moves.retry(at, EVERYTHING, now))
    assert moved == {MessageId(1): 1}
    assert place == (1, 0)
    (entry,) = await writer.read(list_waiting)
    assert (entry.due_at, entry.attempts, entry.reason) == (now, 1, Reason.REPLY)
    again, _ = await writer.transact(lambda at: moves.retry(at, EVERYTHING, now))
    assert not again  # due already


async def test_a_retry_of_many_lets_nobody_go_before_its_turn(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    """A site that takes mail again is no reason to hurry who is complained of."""
    await spool.accept(a_message(1), claim=False)
    (claimed,) = await spool.claim_due(1)
    later, now = clock.unix_ms() + 300_000, clock.unix_ms()
    unit = spool.given_back(claimed, reason=Reason.SLOWED, due_at=later)
    await writer.commit(unit)
    moved, _ = await writer.transact(lambda at: moves.retry(at, EVERYTHING, now))
    assert not moved
    one = Selection(message_id=MessageId(1))
    moved, _ = await writer.transact(lambda at: moves.retry(at, one, now))
    assert moved == {MessageId(1): 1}


async def test_what_is_deferred_again_meanwhile_is_not_made_due_twice(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    """Else a retry of much mail would never end where the peer refuses quickly."""
    for number in range(1, 6):
        await spool.accept(
            a_message(number, to=("a@x.example", "b@x.example")), claim=False
        )
    far = clock.unix_ms() + 300_000
    defer = update(recipient).values(state="deferred", due_at=far)
    await writer.transact(lambda at: at.execute(defer) and None)
    place, total, pieces = moves.BEGINNING, 0, 0
    while True:
        piece = partial(
            moves.retry, wanted=EVERYTHING, now=clock.unix_ms(), after=place, limit=3
        )
        moved, place = await writer.transact(piece)
        if not moved:
            break
        total, pieces = total + moved.total(), pieces + 1
        await writer.transact(lambda at: at.execute(defer) and None)
    assert (total, pieces) == (10, 4)


async def test_mail_is_selected_by_all_that_an_operator_may_say(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1, to=("a@x.example", "b@y.example")), claim=False)
    for claimed in await spool.claim_due(5):
        unit = spool.settlement(
            claimed, busy(), at=0, due_at=clock.unix_ms(), site="mx1.z|mx2.z"
        )
        await writer.commit(unit)
    left = {"message_id": 1, "position": 0, "at": 0, "outcome": "deferred"}
    rest = dict.fromkeys(("reason", "reply", "host", "tls"), "")
    row = {**left, **rest, "source": "pool-b", "duration_ms": 0}
    await writer.transact(lambda at: at.execute(attempt.insert().values(row)) and None)

    async def found(**what: object) -> list[int]:
        wanted = Selection(**what)
        entries = await writer.read(lambda at: list_waiting(at, wanted))
        return [entry.position for entry in entries]

    assert await found(tenant=TenantId("acme")) == [0, 1]
    assert await found(tenant=TenantId("other")) == []
    assert await found(domain_ids=(DomainId(7),)) == [0, 1]
    assert await found(domain_ids=(DomainId(8),)) == []
    assert await found(destination="y.example") == [1]
    assert await found(site="mx2.z") == [0, 1]
    assert await found(site="mx2") == []
    assert await found(source="pool-b") == [0]
    assert await found(message_id=MessageId(1)) == [0, 1]
    assert await found(reason=Reason.CAPACITY) == []
    assert await found(destination="x.example", source="pool-b") == [0]


async def test_a_broken_domain_that_is_held_by_hand_too_stays_held_when_mended(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1), claim=False)
    hold = StandingHold(scope=HoldScope.DOMAIN, subject="7", explanation="asked")
    broken = closing(
        "domain", "7", reason=Reason.DOMAIN_BROKEN, explanation="mend", since=1
    )
    await writer.commit([broken])
    assert await writer.transact(lambda at: moves.close_gate(at, hold))
    assert not await writer.transact(lambda at: moves.close_gate(at, hold))
    (entry,) = await writer.read(list_waiting)
    assert (entry.reason, entry.explanation) == (Reason.OPERATOR_HOLD, "asked")
    await writer.commit([opening("domain", "7")])
    assert await spool.claim_due(1) == ()
    assert await writer.transact(lambda at: moves.open_gate(at, hold.scope, "7"))
    assert len(await spool.claim_due(1)) == 1


async def test_a_report_is_not_shown_as_held_for_complaints(
    spool: Spool, writer: Writer
) -> None:
    """It goes on, and is tried again where its next hop is away."""
    await spool.accept(a_message(1), claim=False)
    await spool.accept(a_message(2, domain_id=-7), claim=False)
    order = StandingHold(
        scope=HoldScope.TENANT,
        subject="acme",
        explanation="many",
        reason=Reason.COMPLAINTS,
    )
    await writer.transact(lambda at: moves.close_gate(at, order))
    mail, report = await writer.read(list_waiting)
    assert (mail.state, mail.reason) == (RecipientState.HELD, Reason.COMPLAINTS)
    assert (report.state, report.reason) == (RecipientState.QUEUED, Reason.ACCEPTED)
    (claimed,) = await spool.claim_due(2)
    assert claimed.message.message_id == report.message_id


async def test_what_came_to_a_gate_waits_until_it_is_released_and_never_behind_none(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    scope, name = HoldScope.DESTINATION, "destination x.example"
    hold = StandingHold(scope=scope, subject="x.example", explanation="asked")
    await spool.accept(a_message(1, to=("a@x.example",)), claim=False)
    await spool.accept(a_message(2, to=("a@x.example",)), claim=False)
    await writer.transact(lambda at: moves.close_gate(at, hold))
    await park(spool, writer, clock, name)
    assert await states(writer) == ["held", "held"]
    now = clock.unix_ms()
    # Its gate is shut: a release of the mail alone does not reach it.
    assert not await writer.transact(lambda at: moves.release(at, TO_X, now))
    assert await spool.sweep() == 0
    assert await writer.transact(lambda at: moves.open_gate(at, scope, "x.example"))
    # The command dies here: the sweep finds what it left.
    assert await spool.sweep() == 2
    assert await states(writer) == ["queued", "queued"]
    assert len(await spool.claim_due(9)) == 2


async def test_what_is_behind_another_gate_is_not_released_with_this_one(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    for subject in ("x.example", "y.example"):
        hold = StandingHold(
            scope=HoldScope.DESTINATION, subject=subject, explanation="asked"
        )
        await writer.transact(lambda at, hold=hold: moves.close_gate(at, hold))
    await spool.accept(a_message(1, to=("a@x.example",)), claim=False)
    await park(spool, writer, clock, "destination x.example")
    await spool.accept(a_message(2, to=("a@y.example",)), claim=False)
    await park(spool, writer, clock, "destination y.example")
    await writer.transact(
        lambda at: moves.open_gate(at, HoldScope.DESTINATION, "x.example")
    )
    moved = await writer.transact(
        lambda at: moves.release_behind(
            at, HoldScope.DESTINATION, "x.example", clock.unix_ms()
        )
    )
    assert moved == {MessageId(1): 1}
    assert await states(writer) == ["queued", "held"]


async def test_mail_behind_an_operators_gate_does_not_expire(
    spool: Spool, writer: Writer, lease: WorkerLease, clock: FakeClock
) -> None:
    expiring = a_message(1, expires_at=clock.unix_ms() + 1_000)
    await spool.accept(expiring, claim=False)
    hold = StandingHold(scope=HoldScope.TENANT, subject="acme", explanation="asked")
    await writer.transact(lambda at: moves.close_gate(at, hold))
    clock.advance(60)
    await spool.sweep()
    assert await states(writer) == ["queued"]


async def test_standing_orders_survive_and_the_latest_reroute_comes_first(
    writer: Writer,
) -> None:
    first = Reroute(
        destination="x.example",
        next_hops=("192.0.2.1:25", "mx.backup.example:2525"),
        explanation="down",
        since=1,
    )
    second = Reroute(
        tenant=TenantId("acme"),
        domain_id=DomainId(7),
        message_id=MessageId(5),
        accepted_before=9,
        next_hops=("[2001:db8::1]:25",),
        explanation="",
        since=2,
    )
    numbers = [
        await writer.transact(lambda at, one=one: add_reroute(at, one))
        for one in (first, second)
    ]
    found = await writer.read(standing_orders)
    assert [one.number for one in found.reroutes] == numbers[::-1]
    assert [one.next_hops for one in found.reroutes] == [
        second.next_hops,
        first.next_hops,
    ]
    assert found.reroutes[0].message_id == MessageId(5)
    assert found.reroutes[0].accepted_before == 9
    assert await writer.transact(lambda at: undo_reroute(at, numbers[0]))
    assert not await writer.transact(lambda at: undo_reroute(at, numbers[0]))
    assert [one.number for one in await writer.read(reroutes)] == numbers[1:]


async def test_the_summary_counts_by_site_and_keeps_the_last_words(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    for number in (1, 2, 3):
        await spool.accept(a_message(number, to=("a@x.example",)), claim=False)
    for index, claimed in enumerate(await spool.claim_due(2)):
        due_at = clock.unix_ms() + index * 1_000
        unit = spool.settlement(
            claimed, busy(f"no {index}"), at=0, due_at=due_at, site="mx1|mx2"
        )
        await writer.commit(unit)
    await spool.accept(a_message(4, to=("a@y.example",)), claim=True)
    groups = await writer.read(
        lambda at: summary(at, GroupBy.SITE, EVERYTHING, limit=9)
    )
    assert {one.key: (one.deferred, one.queued, one.active) for one in groups} == {
        "mx1|mx2": (2, 0, 0),
        "x.example": (0, 1, 0),
        "y.example": (0, 0, 1),
    }
    assert groups[0].last_reply == "451 4.3.2 no 1"
    assert groups[0].waiting == 2
    by_reason = await writer.read(
        lambda at: summary(at, GroupBy.REASON, EVERYTHING, limit=1)
    )
    assert [one.key for one in by_reason] == ["accepted"]


async def test_a_row_that_makes_no_sense_is_shown_and_hides_no_other(
    spool: Spool, writer: Writer
) -> None:
    for number in (1, 2, 3):
        await spool.accept(a_message(number), claim=False)
    damage = {1: {"state": "nonsense"}, 2: {"reason": "nonsense"}}
    for number, values in damage.items():
        hurt = update(recipient).where(recipient.c.message_id == number).values(values)
        await writer.transact(lambda at, hurt=hurt: at.execute(hurt) and None)
    lost = delete(message).where(message.c.id == 3)
    await writer.transact(lambda at: at.execute(lost) and None)
    shown = {
        number: (await writer.read(lambda at, n=number: why(at, MessageId(n))))[0]
        for number in (1, 2, 3)
    }
    assert "'nonsense'" in shown[1].explanation
    assert [shown[n].reason for n in (1, 2)] == [Reason.CORRUPT] * 2
    assert shown[3].author == ""
    listed = await writer.read(list_waiting)
    assert [entry.message_id for entry in listed] == [2, 3]


async def test_a_claim_that_meets_an_order_counts_no_attempt(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(a_message(1), claim=False)
    await park(spool, writer, clock, "source default")
    (entry,) = await writer.read(list_waiting)
    assert (entry.state, entry.attempts, entry.due_at) == ("held", 0, None)
    row = await writer.read(lambda at: at.execute(select(recipient.c.gate)).scalar())
    assert row == "source default"
    assert await writer.read(lambda at: at.execute(select(gate)).all()) == []


async def test_what_was_held_behind_a_gate_opened_meanwhile_is_let_go(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    """By a worker that had not heard of it: nobody else would look again for minutes."""
    for number in (1, 2):
        await spool.accept(a_message(number), claim=False)
    await park(spool, writer, clock, "destination x.example")  # there is no such gate
    assert await spool.claim_due(9) == ()
    await spool.release_strays()
    assert len(await spool.claim_due(9)) == 2
