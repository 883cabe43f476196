"""The engine: from offered or claimed to settled, fair, bounded, and drained."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed
from soboo_mta.spool.capacity import Share
from soboo_mta.store.unit import Fenced, StoreUnavailable
from soboo_mta.transfer.classify import Stage, of_reply
from soboo_mta.transfer.departure import DepartureOptions
from tests.fakes.connector import (
    OK,
    SOURCE,
    FakeTenant,
    a_message,
)
from tests.fakes.engine import BUSY, DOWN, GOODBYE, World

RULES = own_rules()


async def test_what_is_offered_is_delivered_and_settled_with_its_attempt(start):
    world = await start()
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [OK]
    (attempt,) = world.ledger.attempts
    assert attempt["outcome"] == "delivered"
    assert attempt["host"] == "a.there.example[9.9.9.1]:25"
    assert attempt["plan_id"] is not None
    await world.until(lambda: world.engine._holdings.recipients == 0)


async def test_what_was_said_is_kept_where_it_did_not_deliver(start):
    world = await start()
    world.engine.offer(a_message(1), (0,))
    await world.settled(1)
    world.connector.answer = BUSY
    world.engine.offer(a_message(2), (0,))
    await world.settled(2)
    delivered, deferred = world.ledger.attempts
    assert delivered["dialogue"] is None
    assert deferred["dialogue"].startswith("S: 220 ")


@pytest.mark.parametrize(
    "traced",
    [
        {"traced_tenants": frozenset({"acme"})},
        {"traced_destinations": frozenset({"there.example"})},
    ],
)
async def test_of_traced_mail_what_was_said_is_kept_of_deliveries_too(start, traced):
    world = await start(departure=DepartureOptions(**traced))
    world.engine.offer(a_message(1), (0,))
    world.engine.offer(a_message(2, to=("a@slow.example",), tenant="other"), (0,))
    await world.settled(1)
    kept = world.ledger.attempts[0]
    assert kept["dialogue"].startswith("S: 220 ")


async def test_a_site_nobody_reaches_names_its_host_and_what_that_said(start):
    world = await start()
    world.connector.failures = {"9.9.9.1": DOWN, "9.9.9.2": DOWN}
    world.engine.offer(a_message(), (0,))
    await world.settled(1)
    (attempt,) = world.ledger.attempts
    assert attempt["host"].endswith(".there.example[9.9.9.2]:25")
    assert attempt["dialogue"] == "S: 554 no"
    ((_, outcome, _),) = world.spool.settled
    assert outcome == DOWN


async def test_case_125_156_each_recipient_is_a_transaction_of_its_own_and_settled_alone(
    start,
):
    world = await start()
    refused = Failed(
        reply=reply(550, "5.1.1", "who"), reason=Reason.REPLY, scope=Scope.RECIPIENT
    )

    def answer(transaction):
        return refused if str(transaction.recipients[0]).startswith("x") else OK

    world.connector.answer = answer
    message = a_message(to=("a@there.example", "x@there.example", "c@slow.example"))
    world.engine.offer(message, (0, 1, 2))
    await world.settled(3)
    by_position = {c.position: outcome for c, outcome, _ in world.spool.settled}
    assert by_position == {0: OK, 1: refused, 2: OK}
    assert all(len(t.recipients) == 1 for t in world.connector.transactions)


async def test_case_155_connections_are_reused(start):
    world = await start(ready={"connections": 1})
    for number in range(20):
        world.engine.offer(a_message(number), (0,))
    await world.settled(20)
    assert len(world.connector.dialled) == 1


async def test_case_155_a_connection_the_peer_left_while_idle_is_not_used_again(start):
    world = await start(ready={"connections": 1, "idle": timedelta(seconds=5)})
    world.engine.offer(a_message(1), (0,))
    await world.settled(1)
    world.connector.sessions[0].is_usable = False
    world.engine.offer(a_message(2), (0,))
    assert await world.settled(2) == [OK, OK]
    assert len(world.connector.sessions) == 2
    assert len(world.connector.transactions) == 2


async def test_what_is_due_in_the_spool_is_claimed(start):
    world = await start()
    world.spool.due.append(Claimed(message=a_message(), position=0, attempts=3))
    world.engine.wake()
    assert await world.settled(1) == [OK]


async def test_a_deferred_one_gets_its_next_time(start):
    world = await start()
    world.connector.answer = BUSY
    world.engine.offer(a_message(), (0,))
    await world.settled(1)
    _, outcome, due_at = world.spool.settled[0]
    assert outcome == BUSY
    assert due_at >= world.clock.unix_ms() + 5 * 60_000


async def test_case_136_144_after_its_lifetime_a_last_attempt_is_made_and_then_it_expires(
    start,
):
    world = await start()
    world.connector.answer = BUSY
    world.engine.offer(a_message(expires_at=1), (0,))
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.LIFETIME
    assert outcome.reply == BUSY.reply
    assert len(world.connector.transactions) == 1


async def test_case_117_a_dead_first_host_is_left_for_the_next(start):
    world = await start()
    world.connector.failures["9.9.9.1"] = DOWN
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [OK]
    assert world.ledger.attempts[0]["host"] == "b.there.example[9.9.9.2]:25"


async def test_case_117_a_host_that_refuses_us_is_left_for_the_next(start):
    world = await start()
    listed = reply(554, "5.7.1", "you are listed")
    world.connector.failures["9.9.9.1"] = of_reply(Stage.BANNER, listed, rules=RULES)
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [OK]


async def test_case_117_a_refused_recipient_is_not_tried_at_another_host(start):
    world = await start()
    refused = of_reply(Stage.RCPT, reply(550, "5.1.1", "who"), rules=RULES)
    world.connector.answer = refused
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [refused]
    assert len(world.connector.transactions) == 1
    assert [str(hop.address) for hop in world.connector.dialled] == ["9.9.9.1"]


async def test_case_117_while_all_hosts_are_down_it_waits(start):
    world = await start()
    world.connector.failures = {"9.9.9.1": DOWN, "9.9.9.2": DOWN}
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [DOWN]
    assert {str(hop.address) for hop in world.connector.dialled} == {
        "9.9.9.1",
        "9.9.9.2",
    }
    assert world.spool.settled[0][2] > world.clock.unix_ms()


async def test_case_118_where_ipv6_cannot_be_reached_ipv4_is_tried(start):
    world = await start()
    world.dns.add("both.example", "A", "9.9.9.4")
    world.dns.add("both.example", "AAAA", "2620:fe::4")
    world.connector.failures["2620:fe::4"] = DOWN
    world.engine.offer(a_message(to=("a@both.example",)), (0,))
    assert await world.settled(1) == [OK]


async def test_case_117_a_421_is_tried_at_the_other_host_at_once_but_not_for_ever(
    start,
):
    world = await start()
    world.connector.answer = GOODBYE
    world.connector.lasts = 1
    world.engine.offer(a_message(), (0,))
    assert await world.settled(1) == [GOODBYE]
    tried = {str(hop.address) for hop in world.connector.dialled}
    assert tried == {"9.9.9.1", "9.9.9.2"}
    assert len(world.connector.transactions) == 2


async def test_case_167_a_site_that_cannot_be_reached_defers_all_that_wait_for_it(
    start,
):
    world = await start(ready={"first_connections": 1})
    world.connector.failures = {"9.9.9.1": DOWN, "9.9.9.2": DOWN}
    for number in range(50):
        world.engine.offer(a_message(number), (0,))
    assert await world.settled(50) == [DOWN] * 50
    dialled = len(world.connector.dialled)
    world.engine.offer(a_message(51), (0,))
    await world.settled(51)
    assert len(world.connector.dialled) == dialled <= 4
    world.clock.advance(3_601)
    world.connector.failures.clear()
    world.engine.offer(a_message(52), (0,))
    assert (await world.settled(52))[-1] == OK


async def test_a_destination_that_does_not_exist_fails_without_connecting(start):
    world = await start()
    world.engine.offer(a_message(to=("a@nowhere.example",)), (0,))
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Failed)
    assert world.connector.dialled == []


async def test_one_look_up_serves_all_that_wait_for_a_domain(start):
    world = await start()
    for number in range(10):
        world.engine.offer(a_message(number), (0,))
    await world.settled(10)
    assert [kind for name, kind in world.dns.asked if name == "there.example"] == ["MX"]


async def test_a_broken_domain_is_held_behind_one_gate_and_nothing_more_is_tried(start):
    world = await start(ready={"connections": 1})
    world.identities.change(usable=(), bounce_ready=False, spf_bounce=())
    for number in range(20):
        world.engine.offer(a_message(number), (0,))
    outcomes = await world.settled(20)
    assert all(isinstance(outcome, Held) for outcome in outcomes)
    assert set(world.spool.gates) == {("domain", "7")}
    assert world.connector.transactions == []
    assert len(world.connector.dialled) <= 1


async def test_case_057_a_suspended_tenant_is_held_and_its_gate_is_left_to_who_suspends_it(
    start,
):
    world = await start()
    world.identities.tenants["acme"] = FakeTenant(suspended=True)
    world.engine.offer(a_message(), (0,))
    (outcome,) = await world.settled(1)
    assert outcome.reason is Reason.TENANT_SUSPENDED
    assert world.spool.gates == []  # it may be resumed already: nobody would open it


async def test_case_060_a_tenants_backlog_does_not_starve_another(start):
    world = await start(ready={"connections": 1})
    world.connector.gate.clear()
    for number in range(500):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    world.engine.offer(
        a_message(1_000, tenant="quiet"), (0,)
    )  # held: served all the same
    world.connector.gate.set()
    await world.settled(501)
    order = [claimed.message.tenant for claimed, _, _ in world.spool.settled]
    assert order.index("quiet") < 10


async def test_case_167_a_slow_site_does_not_delay_another(start):
    world = await start()

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    connect = world.connector.connect

    async def connect_or_hang(hop, **rest):
        if str(hop.address) == "9.9.9.3":
            await hang()
        return await connect(hop, **rest)

    world.connector.connect = connect_or_hang
    for number in range(100):
        world.engine.offer(a_message(number, to=("a@slow.example",)), (0,))
    world.engine.offer(a_message(200), (0,))
    assert await world.settled(1) == [OK]
    await world.engine.drain(timedelta(0))
    assert len(world.spool.settled) == 1
    assert len(world.spool.returned) == 100


async def test_connections_stay_within_the_leased_share_and_it_is_given_back(start):
    world = await start(ready={"connections": 3, "first_connections": 3})
    world.capacity.free = 2
    for number in range(60):
        world.engine.offer(a_message(number), (0,))
    await world.settled(60)
    assert len(world.connector.dialled) <= 2
    await world.until(lambda: len(world.engine._queues) == 0)
    assert world.capacity.free == 2


async def test_connections_go_to_another_worker_that_waits_for_them(start):
    world = await start(ready={"connections": 4, "first_connections": 4})
    world.connector.gate.clear()
    for number in range(800):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.transactions) == 4)
    (site,) = world.capacity.taken
    wanted = {(site, SOURCE.name): {0: Share(4, 36), 1: Share(0, 9)}}
    world.engine._queues._make_room(wanted)
    world.capacity.free = -2  # what is given back is taken by the other
    world.connector.gate.set()
    await world.until(lambda: world.capacity.taken[site] == 2)
    assert len(world.spool.settled) < 800
    assert len(await world.settled(800)) == 800


async def test_without_capacity_it_goes_back_to_the_spool_untried(start):
    world = await start(ready={"denied": timedelta(milliseconds=40)})
    world.capacity.free = 0
    world.engine.offer(a_message(), (0,))
    await world.until(lambda: len(world.engine._queues) == 1)
    world.clock.advance(3)
    await world.until(lambda: len(world.spool.returned) == 1)
    assert world.spool.returned[0][1] is Reason.CAPACITY
    assert world.ledger.attempts == []
    await world.until(lambda: len(world.spool.passed_over) > 0)


async def test_a_full_queue_gives_back_and_its_domain_is_passed_over(start):
    world = await start(ready={"waiting": 10}, claim_every=timedelta(milliseconds=5))
    world.connector.gate.clear()
    for number in range(100):
        world.engine.offer(a_message(number, tenant=f"tenant{number % 4}"), (0,))
    await world.until(lambda: len(world.spool.returned) >= 60)
    await world.until(
        lambda: (
            {"there.example"}
            in [leaving.domains for leaving in world.spool.passed_over]
        )
    )


async def test_case_060_one_tenants_flood_leaves_room_for_others_at_the_same_site(
    start,
):
    world = await start(ready={"waiting": 10}, claim_every=timedelta(milliseconds=5))
    world.connector.gate.clear()
    for number in range(100):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.spool.returned) >= 60)
    flooded = len(world.spool.returned)
    world.engine.offer(a_message(200, tenant="other"), (0,))
    seen = len(world.spool.passed_over)
    await world.until(lambda: len(world.spool.passed_over) > seen + 2)
    assert "other" not in [c.message.tenant for c, _ in world.spool.returned[flooded:]]
    assert not any(leaving.domains for leaving in world.spool.passed_over)


async def test_what_a_tenant_has_too_much_of_is_not_claimed_again(start):
    world = await start(
        ready={"waiting": 10, "connections": 1}, claim_every=timedelta(milliseconds=5)
    )
    world.connector.gate.clear()
    for number in range(20):
        world.engine.offer(a_message(number, tenant="acme"), (0,))
    await world.until(lambda: len(world.spool.returned) >= 15)
    asked = len(world.spool.passed_over)
    await world.until(lambda: len(world.spool.passed_over) > asked + 1)
    latest = world.spool.passed_over[-1]
    assert (latest.of("acme"), latest.of("other")) == ({"there.example"}, set())
    world.connector.gate.set()  # they leave, and there is room again long before the pause
    await world.until(lambda: not world.spool.passed_over[-1].of_tenant)


async def test_a_tenant_with_its_share_of_memory_is_not_claimed_for(start):
    world = await start(
        recipients=10, tenant_share=0.5, claim_every=timedelta(milliseconds=5)
    )
    world.connector.gate.clear()
    for number in range(5):
        world.engine.offer(a_message(number, tenant="acme"), (0,))
    await world.until(lambda: world.spool.passed_over[-1:] != [])
    await world.until(lambda: world.spool.passed_over[-1].tenants == {"acme"})


async def test_a_tenant_over_its_share_does_not_keep_others_from_a_domain(start):
    world = await start(
        recipients=10, tenant_share=0.5, claim_every=timedelta(milliseconds=5)
    )
    world.connector.gate.clear()
    for number in range(20):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.spool.returned) == 15)
    seen = len(world.spool.passed_over)
    await world.until(lambda: len(world.spool.passed_over) > seen + 2)
    assert not any(leaving.domains for leaving in world.spool.passed_over)


async def test_room_is_bounded_in_recipients_octets_and_by_tenant(start):
    world = await start(recipients=10, octets=10_000, tenant_share=0.5)
    engine = world.engine
    assert not engine.room_for(10_001)
    world.connector.gate.clear()
    engine.offer(a_message(1, to=["a@there.example"] * 5), range(5))
    assert not engine.room_for(1, a_message().tenant)
    assert engine.room_for(1, a_message(tenant="other").tenant)
    engine.offer(a_message(2, to=["a@there.example"] * 5, tenant="b"), range(5))
    assert not engine.room_for(1)


async def test_before_it_runs_there_is_no_room():
    assert not World().engine.room_for(1)


async def test_a_store_that_is_away_is_asked_again_and_a_lost_claim_is_not(start):
    world = await start()
    world.ledger.troubles.append(StoreUnavailable("gone"))
    world.engine.offer(a_message(1), (0,))
    assert await world.settled(1) == [OK]
    world.ledger.troubles.append(Fenced("lost"))
    world.engine.offer(a_message(2), (0,))
    await world.until(lambda: world.engine._holdings.recipients == 0)
    assert len(world.spool.settled) == 1


async def test_case_139_what_was_claimed_under_an_older_epoch_is_forgotten(start):
    world = await start(ready={"connections": 1})
    world.connector.gate.clear()
    for number in range(5):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    world.lease.epoch = 2
    world.connector.gate.set()
    await world.until(lambda: world.engine._holdings.recipients == 0)
    assert len(world.connector.transactions) == 1
    assert world.spool.settled == []


async def test_a_lease_whose_claims_were_forgotten_does_not_go_on(start):
    world = await start(ready={"connections": 1})
    world.connector.gate.clear()
    for number in range(2):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    world.lease.may_start_attempt = False  # its epoch is still the claims'
    world.connector.gate.set()
    await world.until(lambda: world.engine._holdings.recipients == 0)
    assert world.lease.is_given_up


async def test_a_lost_lease_interrupts_what_is_under_way(start):
    world = await start()
    world.connector.gate.clear()
    world.engine.offer(a_message(), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    world.lease.may_start_attempt = False
    (outcome,) = await world.settled(1)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.INTERRUPTED


async def test_case_133_draining_finishes_what_is_under_way_and_returns_the_rest(start):
    world = await start(ready={"connections": 1})
    world.connector.gate.clear()
    for number in range(10):
        world.engine.offer(a_message(number), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.engine.drain(timedelta(seconds=5)))
        await asyncio.sleep(0)
        assert not world.engine.room_for(1)
        world.connector.gate.set()
    assert [outcome for _, outcome, _ in world.spool.settled] == [OK]
    assert len(world.spool.returned) == 9
    assert world.connector.closed == 1
    assert world.capacity.free == 1_000


async def test_case_133_draining_interrupts_what_does_not_end_and_it_stays_queued(
    start,
):
    world = await start()
    world.connector.gate.clear()
    world.engine.offer(a_message(), (0,))
    await world.until(lambda: len(world.connector.transactions) == 1)
    await world.engine.drain(timedelta(milliseconds=10))
    ((_, outcome, due_at),) = world.spool.settled
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.INTERRUPTED
    assert due_at <= world.clock.unix_ms() + 2_000


async def test_an_error_of_ours_defers_and_the_rest_goes_on(start):
    world = await start()

    def broken(transaction):
        if "x@" in str(transaction.recipients[0]):
            raise RuntimeError("bug")
        return OK

    world.connector.answer = broken
    world.engine.offer(a_message(1, to=("x@there.example",)), (0,))
    await world.settled(1)
    world.engine.offer(a_message(2), (0,))
    outcomes = await world.settled(2)
    assert isinstance(outcomes[0], Deferred)
    assert outcomes[0].reason is Reason.INTERNAL
    assert outcomes[1] == OK


async def test_a_plan_is_interned_once(start):
    world = await start(ready={"connections": 1})
    for number in range(5):
        world.engine.offer(a_message(number), (0,))
        await world.settled(number + 1)
    plans = Counter(attempt["plan_id"] for attempt in world.ledger.attempts)
    assert list(plans.values()) == [5]


async def test_case_163_the_domain_keeps_its_source(start):
    world = await start()
    other = replace(SOURCE, name="two")
    world.engine._sources = (SOURCE, other)
    for number in range(4):
        world.engine.offer(a_message(number, domain_id=number % 2), (0,))
    await world.settled(4)
    by_domain = {
        (claimed.message.domain_id, attempt["source"])
        for (claimed, _, _), attempt in zip(
            world.spool.settled, world.ledger.attempts, strict=True
        )
    }
    assert len(by_domain) == 2
    assert isinstance(OK, Delivered)
