"""What is left alone and who is told: blocked sites (162), tenants, dead sources (166)."""

import json
from collections import Counter
from dataclasses import replace

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Reason
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import Claimed
from soboo_mta.ports import ConnectFailure
from soboo_mta.transfer.classify import Stage, of_reply, without_source
from soboo_mta.transfer.routing.pools import Pool, Pools
from tests.fakes.connector import OK, SOURCE, FakeTenant, a_message

RULES = own_rules()
LISTED = of_reply(
    Stage.RCPT,
    Reply.received(554, "5.7.1 Client host blocked using zen.spamhaus.org"),
    rules=RULES,
)
SPAM = of_reply(
    Stage.DOT, Reply.received(554, "5.7.1 Spam message rejected"), rules=RULES
)


def alerts(world) -> list[tuple[str, str | None, dict]]:
    return [
        (row["kind"], row["tenant_id"], json.loads(row["detail"]))
        for row in world.ledger.events
    ]


async def test_case_162_a_site_that_refuses_our_address_rests_and_is_told_once(start):
    world = await start(ready={"first_connections": 1})
    world.connector.answer = LISTED
    for number in range(20):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    outcomes = await world.settled(20)
    assert {type(one) for one in outcomes} == {Deferred}
    assert {one.reason for one in outcomes} == {Reason.BLOCKED}
    assert len(world.connector.transactions) == 1
    await world.until(lambda: bool(world.ledger.events))
    ((kind, tenant, detail),) = alerts(world)
    assert (kind, tenant) == ("source-blocked", None)
    assert detail["source"] == "one"
    assert "spamhaus" in detail["reply"]
    world.clock.advance(601)
    world.connector.answer = OK
    world.engine.offer(a_message(99), (0,))
    assert isinstance((await world.settled(21))[-1], Delivered)


async def test_a_tenants_refused_content_makes_its_mail_wait_and_nobody_elses(start):
    world = await start(ready={"first_connections": 1, "connections": 1})
    acmes = world.identities.state
    louds = replace(acmes, settings=replace(acmes.settings, tenant=TenantId("loud")))

    async def domain_by_id(domain_id):
        return acmes if domain_id == 7 else louds

    world.identities.domain_by_id = domain_by_id
    world.connector.answer = lambda sent: (
        SPAM if "loud" in str(sent.recipients[0]) else OK
    )
    for number in range(40):
        tenant, domain = (("acme", 7), ("loud", 8))[number % 2]
        to = (f"{tenant}-{number}@there.example",)
        message = a_message(number, to=to, tenant=tenant, domain_id=domain)
        world.engine.offer(message, (0,))
    await world.settled(40)
    kinds = Counter(
        (claimed.message.tenant, type(outcome))
        for claimed, outcome, _ in world.spool.settled
    )
    assert kinds == {
        ("acme", Delivered): 20,
        ("loud", Failed): 5,
        ("loud", Deferred): 15,
    }


async def test_five_refused_contents_in_a_row_and_the_rest_waits(start):
    world = await start(ready={"first_connections": 1, "connections": 1})
    world.connector.answer = SPAM
    for number in range(20):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    outcomes = await world.settled(20)
    assert sum(isinstance(one, Failed) for one in outcomes) == 5
    waiting = [one for one in outcomes if isinstance(one, Deferred)]
    assert {one.reason for one in waiting} == {Reason.CONTENT_BLOCKED}
    assert len(world.connector.transactions) == 5
    await world.until(lambda: bool(world.ledger.events))
    assert [alert[:2] for alert in alerts(world)] == [("content-blocked", "acme")]
    other = a_message(50, to=("x@slow.example",))
    world.connector.answer = OK
    world.engine.offer(other, (0,))  # another site takes its mail
    assert isinstance((await world.settled(21))[-1], Delivered)


async def test_one_refused_content_among_good_ones_is_one_bad_message(start):
    world = await start(ready={"first_connections": 1, "connections": 1})
    answers = iter([SPAM, SPAM, SPAM, SPAM, OK] * 4)
    world.connector.answer = lambda _: next(answers)
    for number in range(20):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    outcomes = await world.settled(20)
    assert sum(isinstance(one, Failed) for one in outcomes) == 16
    assert world.ledger.events == []


async def test_case_166_a_dead_source_is_paused_told_and_its_mail_takes_another(start):
    dead = replace(SOURCE, name="dead", ehlo_name=Domain("dead.esp.example"))
    live = replace(SOURCE, name="live")
    both = Pool(name="default", sources=((dead, 1), (live, 1)))
    world = await start(pools=Pools(by_name={"default": both}))
    dial, asked = world.connector.connect, []

    async def connect(hop, *, ehlo, **rest):
        if ehlo == dead.ehlo_name:
            asked.append(hop)
            return ConnectFailure(without_source("Cannot assign requested address"))
        return await dial(hop, ehlo=ehlo, **rest)

    world.connector.connect = connect
    for number in range(30):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    outcomes = await world.settled(30)
    assert {type(one) for one in outcomes} == {Delivered}
    assert {attempt["source"] for attempt in world.ledger.attempts} == {"live"}
    assert 0 < len(asked) <= 5  # first_connections
    await world.until(lambda: bool(world.ledger.events))
    assert [alert[0] for alert in alerts(world)] == ["source-paused"]


async def test_case_166_without_another_source_mail_is_deferred_not_lost(start):
    world = await start()
    gone = without_source("Cannot assign requested address")
    world.connector.failures = {"9.9.9.1": gone, "9.9.9.2": gone}
    for number in range(10):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    outcomes = await world.settled(10)
    assert {one.reason for one in outcomes} == {Reason.SOURCE}
    assert all(isinstance(one, Deferred) for one in outcomes)
    world.clock.advance(61)
    world.connector.failures = {}
    world.engine.offer(a_message(99), (0,))
    assert isinstance((await world.settled(11))[-1], Delivered)


async def test_a_tenants_own_pool_is_known_before_its_first_message_leaves(start):
    vip, plain = replace(SOURCE, name="vip"), replace(SOURCE, name="plain")
    world = await start(
        pools=Pools(
            by_name={
                "default": Pool(name="default", sources=((plain, 1),)),
                "vip": Pool(name="vip", sources=((vip, 1),)),
            }
        )
    )
    world.identities.tenants["acme"] = FakeTenant(pool="vip")
    world.engine.offer(a_message(1), (0,))
    await world.settled(1)
    world.identities.tenants["acme"] = FakeTenant()
    world.identities.generation += 1
    world.spool.due.append(Claimed(message=a_message(2), position=0, attempts=0))
    world.engine.wake()
    await world.settled(2)
    assert [attempt["source"] for attempt in world.ledger.attempts] == ["vip", "plain"]
