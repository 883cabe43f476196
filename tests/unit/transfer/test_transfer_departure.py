"""Promise 1: nothing leaves without a plan, and with no older state than is known."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.formats.verp import ReturnToken
from soboo_mta.identity.state import OnBroken, Plan, Verdict
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.ports import HopAddress
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.transfer.departure import Departed, DepartureOptions, Departures
from soboo_mta.transfer.planning import Planner, checked
from tests.fakes.clock import FakeClock
from tests.fakes.connector import (
    CONTENT,
    OPERATOR,
    SOURCE,
    FakeConnector,
    FakeIdentities,
    FakeLease,
    FakeSession,
    FakeTenant,
    a_message,
    a_signer,
    a_verp_signer,
)

HOP = HopAddress(host="mx", address=SOURCE.public_address, port=25)
PAIR = generate_rsa()


class Scene:
    """Departures with their fakes; `go` departs one message."""

    def __init__(self) -> None:
        self.identities = FakeIdentities(PAIR)
        self.lease = FakeLease()
        self.epoch = self.lease.epoch  # of what is departed
        self.clock = FakeClock()
        self.connector = FakeConnector()
        operator = (OPERATOR, None)
        self.departures = Departures(
            planner=Planner(
                identities=self.identities, operator=lambda: operator, clock=self.clock
            ),
            verp=a_verp_signer(),
            signer=a_signer(),
            lease=self.lease,
            clock=self.clock,
        )

    async def go(self, message=None, position: int = 0) -> Departed:
        claimed = Claimed(message=message or a_message(), position=position, attempts=0)
        session = FakeSession(self.connector, HOP, 100)
        return await self.departures.depart(session, claimed, SOURCE, epoch=self.epoch)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_good_domain_departs_signed_with_its_own_reverse_path(scene):
    departed = await scene.go()
    assert isinstance(departed.outcome, Delivered)
    assert departed.plan.verdict is Verdict.PASS
    (transaction,) = scene.connector.transactions
    octets = b"".join(transaction.octets)
    assert octets.startswith(b"DKIM-Signature: ")
    assert octets.endswith(CONTENT)
    mailbox = transaction.reverse_path.mailbox
    assert mailbox.domain == "bounce.customer.example"
    opened = a_verp_signer().open(mailbox.local_part, mailbox.domain, 0)
    assert isinstance(opened, ReturnToken)
    assert (opened.message, opened.position) == (MessageId(1), 0)


async def test_case_124_a_retry_has_the_same_reverse_path(scene):
    for _ in range(2):
        await scene.go()
    first, second = scene.connector.transactions
    assert first.reverse_path == second.reverse_path


async def test_a_broken_domain_is_held_and_nothing_is_sent(scene):
    scene.identities.change(usable=(), bounce_ready=False, spf_bounce=())
    departed = await scene.go()
    assert isinstance(departed.outcome, Held)
    assert departed.outcome.reason is Reason.DOMAIN_BROKEN
    assert "sb1" in departed.outcome.explanation
    assert scene.connector.transactions == []


async def test_case_069_facts_nobody_looked_at_for_72_hours_hold_the_mail(scene):
    scene.clock.advance(71 * 3_600)
    assert isinstance((await scene.go()).outcome, Delivered)
    scene.clock.advance(2 * 3_600)
    outcome = (await scene.go()).outcome
    assert isinstance(outcome, Held)
    assert outcome.reason is Reason.DOMAIN_BROKEN
    assert "72 hours" in outcome.explanation
    assert len(scene.connector.transactions) == 1


async def test_a_hold_is_known_without_a_look_until_the_generation_rises(scene):
    message = a_message()
    assert scene.departures.planner.standing_hold(message, SOURCE) is None
    scene.identities.change(usable=(), bounce_ready=False)
    await scene.go(message)
    assert scene.departures.planner.standing_hold(message, SOURCE) is not None
    scene.identities.generation += 1
    assert scene.departures.planner.standing_hold(message, SOURCE) is None


async def test_a_domain_that_refuses_fails(scene):
    state = scene.identities.state
    settings = replace(state.settings, on_broken=OnBroken.REFUSE)
    scene.identities.state = replace(state, settings=settings)
    scene.identities.change(usable=(), bounce_ready=False)
    departed = await scene.go()
    assert isinstance(departed.outcome, Failed)
    assert scene.connector.transactions == []


async def test_case_057_a_suspended_tenant_is_held(scene):
    scene.identities.tenants["acme"] = FakeTenant(suspended=True)
    departed = await scene.go()
    assert isinstance(departed.outcome, Held)
    assert departed.outcome.reason is Reason.TENANT_SUSPENDED
    assert scene.connector.transactions == []


async def test_case_057_a_domain_that_is_gone_or_anothers_is_held(scene):
    good = scene.identities.state
    others = replace(good.settings, tenant=TenantId("other"))
    renamed = replace(good.settings, name=Domain("evil.example"))
    for state in (
        None,
        replace(good, settings=others),
        replace(good, settings=renamed),
    ):
        scene.identities.state = state
        assert isinstance((await scene.go()).outcome, Held)
    assert scene.connector.transactions == []


async def test_case_074_a_plan_that_predicts_failure_needs_the_domains_own_setting(
    scene,
):
    plan = (await scene.go()).plan
    failing = replace(plan, verdict=Verdict.FAIL)
    state = scene.identities.state
    assert isinstance(checked(failing, state), Held)
    settings = replace(state.settings, on_broken=OnBroken.SEND_UNALIGNED)
    assert isinstance(checked(failing, replace(state, settings=settings)), Plan)


async def test_a_state_that_changes_under_the_look_is_looked_at_again(scene):
    looks = []

    def change_once() -> None:
        looks.append(1)
        if len(looks) == 1:
            scene.identities.generation += 1

    scene.identities.on_look = change_once
    assert isinstance((await scene.go()).outcome, Delivered)
    assert len(looks) == 2


async def test_a_state_that_never_rests_is_not_departed_from(scene):
    def change() -> None:
        scene.identities.generation += 1

    scene.identities.on_look = change
    departed = await scene.go()
    assert isinstance(departed.outcome, Deferred)
    assert scene.connector.transactions == []


async def test_without_the_lease_nothing_starts_and_no_final_dot_is_sent(scene):
    await scene.go()
    (transaction,) = scene.connector.transactions
    assert transaction.may_finish()
    scene.lease.may_start_attempt = False
    assert not transaction.may_finish()
    departed = await scene.go()
    assert isinstance(departed.outcome, Deferred)
    assert departed.outcome.reason is Reason.INTERRUPTED
    assert len(scene.connector.transactions) == 1


async def test_a_lease_taken_anew_finishes_nothing_of_the_old_one(scene):
    await scene.go()
    (transaction,) = scene.connector.transactions
    scene.lease.epoch += 1  # lost and registered again: others have the claims
    assert not transaction.may_finish()
    departed = await scene.go()
    assert isinstance(departed.outcome, Deferred)
    assert departed.outcome.reason is Reason.INTERRUPTED
    assert len(scene.connector.transactions) == 1


async def test_case_070_content_that_cannot_be_signed_is_not_sent_unsigned(scene):
    departed = await scene.go(a_message(content=b" no header\r\n\r\nx\r\n"))
    assert isinstance(departed.outcome, Deferred)
    assert departed.outcome.reason is Reason.INTERNAL
    assert scene.connector.transactions == []


async def test_what_the_directory_cannot_tell_is_not_guessed(scene):
    def away() -> None:
        raise StoreUnavailable("locked")

    scene.identities.on_look = away
    departed = await scene.go()
    assert isinstance(departed.outcome, Deferred)
    assert departed.outcome.reason is Reason.INTERNAL
    assert scene.connector.transactions == []


async def test_signatures_are_shared_by_recipients_until_the_generation_rises(scene):
    message = a_message(to=("a@there.example", "b@there.example"))
    signed = []
    scene.clock.advance(1)
    for position in (0, 1, 0):
        if len(signed) == 2:
            scene.identities.generation += 1
        await scene.go(message, position)
        signed.append(scene.connector.transactions[-1].octets[0])
        scene.clock.advance(1)
    assert signed[0] == signed[1] != signed[2]
    first, second, _ = scene.connector.transactions
    assert first.reverse_path != second.reverse_path


async def test_case_076_a_retry_late_in_a_signatures_life_is_signed_anew(scene):
    message = a_message(to=("a@there.example", "b@there.example"))
    scene.departures._options = DepartureOptions(signature_life=timedelta(hours=2))
    expiries = []
    for minutes in (0, 59, 2):
        scene.clock.advance(minutes * 60)
        await scene.go(message)
        signature = scene.connector.transactions[-1].octets[0]
        expires = int(re.search(rb"x=(\d+)", signature)[1])
        expiries.append(expires - scene.clock.unix_ms() // 1_000)
    assert expiries == [120 * 60, 61 * 60, 120 * 60]


async def test_a_generation_is_acknowledged_once_nothing_older_is_under_way(scene):
    scene.connector.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.go())
        await scene.connector.began.wait()
        scene.identities.generation = 5
        assert scene.departures.acknowledged_generation() == 1
        scene.connector.gate.set()
        await task
    assert scene.departures.acknowledged_generation() == 5


async def test_what_departs_outdated_for_too_long_is_cut_short(scene):
    scene.connector.gate.clear()
    patience = timedelta(seconds=10)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.go())
        await scene.connector.began.wait()
        await scene.departures.cut_short(older_than=patience)
        scene.identities.change(usable=(), bounce_ready=False, spf_bounce=())
        scene.identities.generation = 5
        await scene.departures.cut_short(older_than=patience)
        assert scene.departures.acknowledged_generation() == 1
        scene.clock.advance(11)
        await scene.departures.cut_short(older_than=patience)
        await scene.departures.cut_short(older_than=patience)
        departed = await task
    assert isinstance(departed.outcome, Deferred)
    assert departed.outcome.reason is Reason.INTERRUPTED
    assert scene.departures.acknowledged_generation() == 5


async def test_a_change_that_is_about_somebody_else_cuts_nothing_short(scene):
    scene.connector.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scene.go())
        await scene.connector.began.wait()
        for generation in (5, 6):
            scene.identities.generation = generation
            scene.clock.advance(11)
            await scene.departures.cut_short(older_than=timedelta(seconds=10))
            assert scene.departures.acknowledged_generation() == generation
        scene.connector.gate.set()
        departed = await task
    assert isinstance(departed.outcome, Delivered)
