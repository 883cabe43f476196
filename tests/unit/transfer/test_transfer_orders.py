"""An operator's orders in memory: they hold for what waits there, and for what comes."""

import asyncio
from dataclasses import replace

import pytest

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Failed, Held, Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.spool.operator.orders import (
    HoldScope,
    Reroute,
    Slowed,
    StandingHold,
    StandingOrders,
)
from soboo_mta.transfer.routing.orders import Orders
from tests.fakes.connector import OK, SOURCE, a_message


def held_by(scope: HoldScope, subject: str) -> StandingOrders:
    order = StandingHold(scope=scope, subject=subject, explanation="asked")
    return StandingOrders(holds=(order,))


def rerouted(**what: object) -> StandingOrders:
    order = Reroute(next_hops=("9.9.9.77:2525",), explanation="", since=0, **what)
    return StandingOrders(reroutes=(order,))


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        (HoldScope.TENANT, "acme"),
        (HoldScope.DOMAIN, "7"),
        (HoldScope.DESTINATION, "there.example"),
        (HoldScope.SITE, "b.there.example"),
        (HoldScope.SOURCE, SOURCE.name),
    ],
)
async def test_what_an_order_holds_is_never_tried(start, scope, subject):
    world = await start()
    world.orders.replace(held_by(scope, subject))
    world.engine.offer(a_message(), (0,))
    (outcome,) = await world.settled(1)
    assert outcome == Held(
        reason=Reason.OPERATOR_HOLD, explanation="asked", gate=f"{scope} {subject}"
    )
    assert world.connector.dialled == []
    assert world.spool.gates == []  # the operator's gate is closed already


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        (HoldScope.TENANT, "other"),
        (HoldScope.DOMAIN, "8"),
        (HoldScope.DESTINATION, "slow.example"),
        (HoldScope.SITE, "there.example"),
        (HoldScope.SOURCE, "pool-b"),
    ],
)
async def test_other_mail_goes_on(start, scope, subject):
    world = await start()
    world.orders.replace(held_by(scope, subject))
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [OK]


async def test_a_held_destination_that_has_vanished_from_dns_does_not_fail(start):
    world = await start()
    world.orders.replace(held_by(HoldScope.DESTINATION, "nowhere.example"))
    world.engine.offer(a_message(to=("a@nowhere.example",)), (0,))
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Held)


async def test_what_waits_in_memory_for_a_connection_obeys_too(start):
    world = await start(ready={"connections": 1, "first_connections": 1})
    world.connector.gate.clear()
    for number in range(3):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.dialled) == 1)
    await asyncio.sleep(0)
    world.orders.replace(held_by(HoldScope.TENANT, "acme"))
    world.connector.gate.set()
    outcomes = await world.settled(3)
    assert sum(isinstance(one, Held) for one in outcomes) >= 2


async def test_rerouted_mail_goes_to_the_next_hops_given(start):
    world = await start()
    world.orders.replace(rerouted(destination="there.example"))
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [OK]
    (hop,) = world.connector.dialled
    assert (str(hop.address), hop.port) == ("9.9.9.77", 2525)
    world.orders.replace(StandingOrders())
    world.engine.offer(a_message(2), (0,))
    assert await world.settled(2) == [OK, OK]
    assert str(world.connector.dialled[-1].address) == "9.9.9.1"


@pytest.mark.parametrize(
    ("what", "is_meant"),
    [
        ({}, True),
        ({"tenant": TenantId("acme")}, True),
        ({"tenant": TenantId("other")}, False),
        ({"domain_id": DomainId(7)}, True),
        ({"domain_id": DomainId(8)}, False),
        ({"destination": "there.example"}, True),
        ({"destination": "where.example"}, False),
        ({"message_id": MessageId(3)}, True),
        ({"message_id": MessageId(4)}, False),
        ({"tenant": TenantId("acme"), "destination": "where.example"}, False),
        ({"accepted_before": 1 << 60}, True),
        ({"accepted_before": 0}, False),
    ],
)
def test_a_reroute_concerns_what_meets_all_that_it_names(what, is_meant):
    orders = Orders()
    orders.replace(rerouted(**what))
    claimed = Claimed(message=a_message(3), position=0, attempts=0)
    assert (orders.route(claimed) is not None) == is_meant


def test_a_damaged_reroute_is_left_out_and_said(caplog):
    orders = Orders()
    broken = Reroute(number=4, next_hops=("not a hop",), explanation="", since=0)
    orders.replace(StandingOrders(reroutes=(broken,)))
    assert orders.route(Claimed(message=a_message(), position=0, attempts=0)) is None
    assert "reroute 4 is ignored" in caplog.text


def test_that_a_hold_is_gone_is_told_once() -> None:
    orders = Orders()
    assert not orders.replace(held_by(HoldScope.DESTINATION, "there.example"))
    assert not orders.replace(held_by(HoldScope.DESTINATION, "there.example"))
    assert orders.replace(held_by(HoldScope.TENANT, "acme"))
    assert orders.replace(StandingOrders())
    assert not orders.replace(StandingOrders())


def complained(scope: HoldScope, subject: str) -> StandingOrders:
    return StandingOrders(slowed=(Slowed(scope, subject),))


@pytest.mark.parametrize(
    ("scope", "subject"), [(HoldScope.TENANT, "acme"), (HoldScope.DOMAIN, "7")]
)
async def test_slowed_mail_waits_in_the_spool_for_its_turn_and_then_goes(
    start, scope, subject
):
    world = await start()
    world.orders.replace(complained(scope, subject))
    for number in range(1, 4):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.spool.returned) == 2)
    assert {reason for _, reason in world.spool.returned} == {Reason.SLOWED}
    assert await world.settled(1) == [OK]  # whose turn was now
    world.spool.due = [
        replace(claimed, had_turn=True) for claimed, _ in world.spool.returned
    ]
    world.engine.wake()
    assert await world.settled(3) == [OK, OK, OK]


async def test_what_waits_in_memory_waits_for_its_turn_from_then_on(start):
    world = await start(ready={"connections": 1, "first_connections": 1})
    world.connector.gate.clear()
    for number in range(4):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.dialled) == 1)
    await asyncio.sleep(0)
    world.orders.replace(complained(HoldScope.TENANT, "acme"))
    world.connector.gate.set()
    await world.until(lambda: len(world.spool.returned) >= 2)
    assert {reason for _, reason in world.spool.returned} == {Reason.SLOWED}
    assert len(await world.settled(1)) <= 2  # under way, and whose turn was now


async def test_who_had_its_turn_and_finds_no_room_does_not_wait_for_another(start):
    world = await start(ready={"connections": 1, "first_connections": 1, "waiting": 2})
    world.connector.gate.clear()
    world.orders.replace(complained(HoldScope.TENANT, "acme"))
    world.spool.due = [
        Claimed(message=a_message(number), position=0, attempts=0, had_turn=True)
        for number in range(9)
    ]
    world.engine.wake()
    await world.until(lambda: bool(world.spool.returned))
    assert {reason for _, reason in world.spool.returned} == {Reason.SLOWED}
    world.connector.gate.set()


async def test_what_gets_no_turn_in_its_life_waits_to_its_end_and_expires(start):
    """It takes no turn that others could use, and does not leave at its end either."""
    world = await start()
    world.orders.replace(complained(HoldScope.TENANT, "acme"))
    now = world.clock.unix_ms()
    line = Slowed(HoldScope.TENANT, "acme").line
    ahead = asyncio.get_running_loop().time() + 3_600
    world.capacity.lines[line] = ahead
    world.engine.offer(a_message(1, expires_at=now + 60_000), (0,))
    await world.until(lambda: len(world.spool.returned) == 1)
    assert world.spool.returned[0][1] is Reason.SLOWED
    assert world.capacity.lines[line] == pytest.approx(ahead)
    world.clock.advance(60)
    world.spool.due = [replace(one, waited_out=True) for one, _ in world.spool.returned]
    world.engine.wake()
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.LIFETIME
    assert world.connector.dialled == []
    world.capacity.lines.clear()  # nobody waits any more: it goes, even now
    world.engine.offer(a_message(2, expires_at=now), (0,))
    assert (await world.settled(2))[1] == OK


async def test_what_was_held_for_longer_than_its_life_gets_a_turn_all_the_same(start):
    """It is tried once more, as what a hold lets go is, and not all at once."""
    world = await start()
    world.orders.replace(complained(HoldScope.TENANT, "acme"))
    now = world.clock.unix_ms()
    for number in (1, 2):
        world.engine.offer(a_message(number, expires_at=now - 9), (0,))
    await world.until(lambda: len(world.spool.returned) == 1)
    assert await world.settled(1) == [OK]
    assert world.spool.returned[0][1] is Reason.SLOWED


async def test_a_slowed_tenant_slows_nobody_else_and_is_told_as_ever(start):
    world = await start()
    world.orders.replace(complained(HoldScope.TENANT, "other"))
    world.engine.offer(a_message(1), (0,))
    assert await world.settled(1) == [OK]
    orders = Orders()
    orders.replace(complained(HoldScope.TENANT, "acme"))
    report = replace(a_message(2), domain_id=DomainId(-7))
    assert orders.slowed(Claimed(message=report, position=0, attempts=0)) is None


def test_reports_go_on_while_complaints_hold_a_tenant_s_mail() -> None:
    orders = Orders()
    for reason, is_held in ((Reason.COMPLAINTS, False), (Reason.OPERATOR_HOLD, True)):
        order = StandingHold(
            scope=HoldScope.TENANT, subject="acme", explanation="", reason=reason
        )
        orders.replace(StandingOrders(holds=(order,)))
        report = replace(a_message(), domain_id=DomainId(-7))
        claimed = Claimed(message=report, position=0, attempts=0)
        assert (orders.hold(claimed, source="a") is not None) == is_held
        mail = Claimed(message=a_message(), position=0, attempts=0)
        held = orders.hold(mail, source="a")
        assert held is not None
        assert held.reason is reason
