"""A domain's life as the monitor tells it: every change of how it stands is an event."""

from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import Engine, update

from soboo_mta.daemon.domains.book import StoredDomains
from soboo_mta.events.event import EventKind
from soboo_mta.events.history import PastEvent, domain_history
from soboo_mta.events.log import EventLog
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import required_records
from soboo_mta.identity.standing import Standing
from soboo_mta.identity.state import DomainSettings, Operator
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from soboo_mta.onboarding.watch.monitor import Monitor, MonitorOptions
from soboo_mta.onboarding.watch.states import Timers
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.domains import (
    DomainView,
    conditions_of,
    release_domain,
    view_of,
)
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, published
from tests.fakes.tenancy import ACME, NAME, RIVAL, with_domain, with_tenants

HOUR = 3_600
TROUBLE = (EventKind.DOMAIN_AT_RISK, EventKind.DOMAIN_BROKEN, EventKind.DOMAIN_FLAPPING)


class Lines:
    """A log's sink: the event and level of each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, "info"))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append((event, "warning"))

    def error(self, event: str, **facts: object) -> None:
        self.lines.append((event, "error"))


@dataclass
class World:
    """A store, a DNS and a monitor; rounds are asked for."""

    engine: Engine
    writer: Writer
    clock: FakeClock
    dns: FakeResolver = field(default_factory=FakeResolver)
    log: Lines = field(default_factory=Lines)
    operator: Operator = OPERATOR

    def __post_init__(self) -> None:
        self._read = 0
        self.monitor = Monitor(
            check=DomainCheck(
                resolver=self.dns,
                operator=self.operator,
                suffixes=SuffixList(),
                clock=self.clock,
                options=CheckOptions(),
            ),
            book=StoredDomains(
                writer=self.writer,
                clock=self.clock,
                log=EventLog(self.log),
                timers=Timers(),
            ),
            operator=OPERATOR,
            clock=self.clock,
            options=MonitorOptions(),
            operator_facts=lambda: None,
        )

    def publish(self, *domains: DomainSettings) -> None:
        """What the operator publishes for these; the customers' records go."""
        self.dns.zone.clear()
        self.dns.zone.update(published(*domains).zone)

    def publish_all(self, settings: DomainSettings) -> None:
        self.publish(settings)
        for record in required_records(settings, OPERATOR):
            self.dns.add(record.owner, record.kind, record.value)

    async def look(self, seconds: float = 0) -> list[PastEvent]:
        """Look after so long at all domains, due or not; return the new events."""
        self.clock.advance(seconds)
        due = update(sending_domain).values(next_check_at=0)
        write_now(self.engine, lambda at: at.execute(due))
        await self.monitor.round()
        told = read_now(
            self.engine, lambda at: domain_history(at, NAME, tenant=None, limit=1_000)
        )
        new, self._read = told[self._read :], len(told)
        return list(new)

    def view(self, settings: DomainSettings) -> DomainView:
        found = read_now(self.engine, lambda at: view_of(at, settings.domain_id))
        assert found is not None
        return found

    def next_look(self, settings: DomainSettings) -> float:
        """Seconds from now."""
        return (self.view(settings).next_check_at - self.clock.unix_ms()) / 1_000


@pytest.fixture
def world(engine: Engine, writer: Writer, clock: FakeClock) -> World:
    write_now(engine, with_tenants)
    return World(engine, writer, clock)


def kinds(told: list[PastEvent]) -> list[EventKind]:
    return [one.kind for one in told]


def moves(told: list[PastEvent], kind: EventKind) -> dict[str, tuple[str, str, str]]:
    (one,) = [one for one in told if one.kind is kind]
    assert (one.tenant, one.actor) == (ACME, "monitor")
    listed = one.detail["moves"]
    assert isinstance(listed, list)
    return {move["what"]: (move["from"], move["to"], move["why"]) for move in listed}


async def test_each_change_of_how_a_domain_stands_is_an_event(world: World) -> None:
    made = write_now(world.engine, with_domain)
    world.publish(made)
    assert kinds(await world.look()) == [EventKind.DOMAIN_CHANGED]
    assert world.view(made).standing is Standing.PENDING

    world.publish_all(made)
    told = await world.look(60)
    assert kinds(told) == [
        EventKind.DOMAIN_VERIFIED,
        EventKind.CAPABILITY_VERIFIED,
        EventKind.RECORD_CHANGED,
    ]
    assert set(moves(told, EventKind.CAPABILITY_VERIFIED)) == {
        "ownership",
        "can_sign",
        "can_bounce",
        "dmarc",
    }
    assert len(moves(told, EventKind.RECORD_CHANGED)) == 5
    assert world.view(made).standing is Standing.VERIFIED

    world.dns.replace("bounce.customer.com", "CNAME", "elsewhere.example.")
    told = await world.look(60)
    assert kinds(told) == [
        EventKind.DOMAIN_CHANGED,
        EventKind.DOMAIN_AT_RISK,
        EventKind.RECORD_CHANGED,
    ]
    lost = moves(told, EventKind.DOMAIN_AT_RISK)
    assert lost["can_bounce"][:2] == ("verified", "at-risk")
    assert "leads to elsewhere.example" in lost["can_bounce"][2]
    facts = world.view(made).state.facts
    assert facts is not None
    assert not facts.bounce_ready  # departures know at once, and know no grace

    world.dns.silent.add("bounce.customer.com")
    assert await world.look(100 * HOUR) == []  # no answer: not even the grace ends
    assert world.view(made).standing is Standing.AT_RISK

    world.dns.silent.clear()
    told = await world.look(1)
    assert [one for one in kinds(told) if one in TROUBLE] == [EventKind.DOMAIN_BROKEN]
    assert world.view(made).standing is Standing.BROKEN

    world.publish_all(made)
    told = await world.look(1)
    assert EventKind.DOMAIN_RECOVERED in kinds(told)
    assert moves(told, EventKind.DOMAIN_RECOVERED)["can_bounce"][0] == "broken"
    assert world.view(made).standing is Standing.VERIFIED
    assert ("domain_trouble", "warning") in world.log.lines
    assert ("domain_mended", "info") in world.log.lines


async def test_what_is_settled_is_told_no_more(world: World) -> None:
    made = write_now(world.engine, with_domain)
    world.publish_all(made)
    await world.look()
    assert await world.look(60) == []
    assert await world.look(100 * HOUR) == []


async def test_a_flapping_record_is_told_of_a_few_times_in_a_hundred(
    world: World,
) -> None:
    made = write_now(world.engine, with_domain)
    world.publish_all(made)
    await world.look()
    told: list[PastEvent] = []
    for turn in range(100):
        if turn % 2:
            world.publish_all(made)
        else:
            world.dns.remove("bounce.customer.com")
        told += await world.look(30)
    assert kinds(told).count(EventKind.DOMAIN_FLAPPING) == 1
    assert len(told) <= 15
    assert all(
        one.is_flapping
        for one in read_now(world.engine, lambda at: conditions_of(at, made.domain_id))
        if "bounce" in str(one.subject)
    )
    told = await world.look(6 * HOUR)
    assert EventKind.DOMAIN_RECOVERED in kinds(told)


async def test_a_domain_that_nobody_sets_up_is_looked_at_ever_more_seldom(
    world: World,
) -> None:
    made = write_now(world.engine, with_domain)
    world.publish(made)
    await world.look()
    assert world.next_look(made) == 30
    await world.look(2 * HOUR)
    assert world.next_look(made) == 720
    await world.look(48 * HOUR)
    assert world.next_look(made) == HOUR
    told = await world.look(22 * HOUR)
    assert set(moves(told, EventKind.DOMAIN_STALLED)) == {
        "ownership",
        "can_sign",
        "can_bounce",
    }
    assert world.next_look(made) == 6 * HOUR
    assert world.view(made).standing is Standing.STALLED
    assert await world.look(6 * HOUR) == []
    world.publish_all(made)
    assert EventKind.CAPABILITY_VERIFIED in kinds(await world.look(6 * HOUR))


async def test_what_was_good_lately_is_looked_at_often(world: World) -> None:
    made = write_now(world.engine, with_domain)
    world.publish_all(made)
    await world.look()
    world.dns.remove("sb1._domainkey.customer.com")
    for _ in range(3):
        await world.look(20 * HOUR)
        assert world.next_look(made) == 30


async def test_a_test_harness_says_itself_how_its_domains_stand(world: World) -> None:
    made = write_now(world.engine, lambda at: with_domain(at, assume_verified=True))
    assert kinds(await world.look()) == [EventKind.DOMAIN_CHANGED]
    assert await world.look(100 * HOUR) == []
    assert world.view(made).standing is None


async def test_a_second_tenants_proof_does_not_make_the_name_its_own(
    world: World,
) -> None:
    first = write_now(world.engine, with_domain)
    world.publish_all(first)
    await world.look()
    second = write_now(world.engine, lambda at: with_domain(at, RIVAL))
    await world.look(60)
    assert world.view(second).standing is Standing.PENDING
    assert world.view(first).standing is Standing.VERIFIED


@pytest.mark.parametrize("owner", [ACME, RIVAL])
async def test_records_left_from_a_released_domain_verify_nobody(
    world: World, owner: str
) -> None:
    old = write_now(world.engine, with_domain)
    world.publish_all(old)
    await world.look()
    left = dict(world.dns.zone)
    write_now(world.engine, lambda at: release_domain(at, old, now=5))
    new = write_now(
        world.engine, lambda at: with_domain(at, ACME if owner == ACME else RIVAL)
    )
    assert new.token != old.token
    world.publish(new)  # ours for the new token; the customer's records as they were
    world.dns.zone.update(
        {owner: held for owner, held in left.items() if owner.endswith("customer.com")}
    )
    await world.look(60)
    view = world.view(new)
    assert view.verified_at is None
    assert view.standing is Standing.PENDING
    assert view.state.facts is not None
    assert view.state.facts.usable == ()


async def test_reports_that_come_to_us_are_told_of_and_nothing_waits_for_them(
    engine: Engine, writer: Writer, clock: FakeClock, world: World
) -> None:
    ours = replace(OPERATOR, dmarc_reports=parse_mailbox("dmarc@esp.example"))
    taking = World(engine, writer, clock, operator=ours)
    made = write_now(engine, with_domain)
    taking.publish_all(made)
    told = await taking.look()
    (verified,) = [one for one in told if one.kind is EventKind.CAPABILITY_VERIFIED]
    assert "can_report" not in str(verified.detail)
    assert taking.view(made).standing is Standing.VERIFIED

    to_us = "v=DMARC1; p=none; rua=mailto:dmarc@esp.example"
    taking.dns.replace("_dmarc.customer.com", "TXT", to_us)
    taking.dns.add("customer.com._report._dmarc.esp.example", "TXT", "v=DMARC1")
    told = await taking.look(60)
    assert kinds(told) == [EventKind.CAPABILITY_VERIFIED]
    assert moves(told, EventKind.CAPABILITY_VERIFIED) == {
        "can_report": ("pending", "verified", "")
    }

    taking.dns.remove("customer.com._report._dmarc.esp.example")
    told = await taking.look(60)
    lost = moves(told, EventKind.DOMAIN_AT_RISK)
    assert lost["can_report"][:2] == ("verified", "at-risk")
    (event,) = [one for one in told if one.kind is EventKind.DOMAIN_AT_RISK]
    (move,) = event.detail["moves"]  # type: ignore[misc]
    assert (move["required"], move["fault"]) == (False, "operator-reports")
    assert taking.view(made).standing is Standing.VERIFIED

    told = await taking.look(73 * HOUR)
    assert moves(told, EventKind.DOMAIN_BROKEN)["can_report"][1] == "broken"
    assert taking.view(made).standing is Standing.VERIFIED
    taking.dns.add("customer.com._report._dmarc.esp.example", "TXT", "v=DMARC1")
    told = await taking.look(60)
    assert moves(told, EventKind.DOMAIN_RECOVERED)["can_report"][1] == "verified"
