"""Complaints have their effect: told, slowed, held, and let go by whoever may."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, insert, select, update

from soboo_mta.daemon.tallying import effects
from soboo_mta.daemon.tallying.duty import Tallying
from soboo_mta.events.log import EventLog
from soboo_mta.events.tally.counting import DAY_MS
from soboo_mta.events.tally.standings import (
    Level,
    Scope,
    Subject,
    spare,
    standings,
)
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Reason
from soboo_mta.returns.complaints import Thresholds
from soboo_mta.spool.lease import lease_time
from soboo_mta.spool.operator.orders import HoldScope, Slowed, standing_orders
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.transfer.limits.groups import Rate
from tests.fakes.clock import FakeClock
from tests.fakes.connector import Quiet
from tests.fakes.happenings import with_message
from tests.fakes.tenancy import ACME, with_domain, with_tenants

TENANT = Subject(scope=Scope.TENANT, name="acme", tenant=ACME)
LINE = Slowed(HoldScope.TENANT, "acme").line
LIMITS = Thresholds(least=3)


class World:
    """A duty on a real store, and what is sent and complained of there."""

    def __init__(self, writer: Writer, clock: FakeClock) -> None:
        self.writer, self.clock, self.log = writer, clock, Quiet()
        self.domain_id = 0
        self.duty = Tallying(
            writer=writer,
            clock=clock,
            rules=own_rules(),
            thresholds=LIMITS,
            slow_to=Rate(count=60, per=timedelta(minutes=1)),
            holder="here",
            log=EventLog(self.log),
        )

    async def fill(self) -> None:
        await self.writer.transact(with_tenants)
        added = await self.writer.transact(with_domain)
        self.domain_id = added.domain_id

    async def tallied(self, complaints: int, delivered: int) -> None:
        """Set the sums of today."""
        row = {
            "day": self.clock.unix_ms() // DAY_MS,
            "tenant_id": "acme",
            "domain_id": self.domain_id,
            "source": "",
            "provider": "yahoo",
            "plan_id": 0,
            "delivered": delivered,
            "complaints": complaints,
        }

        def write(at: Connection) -> None:
            at.execute(schema.sent_tally.delete())
            at.execute(insert(schema.sent_tally).values(row))

        await self.writer.transact(write)
        self.duty._judged_at = None
        await self.judged()

    async def judged(self) -> None:
        while await self.duty.step():
            continue

    async def level(self) -> Level:
        found = await self.writer.read(standings)
        return next((one.level for one in found if one.subject == TENANT), Level.GOOD)

    async def events(self) -> list[tuple[str, str, str]]:
        """(kind, subject's scope, level) of each."""
        query = select(schema.event).order_by(schema.event.c.id)
        rows = await self.writer.read(lambda at: at.execute(query).all())
        details = [(row.kind, json.loads(row.detail)) for row in rows]
        return [
            (kind, detail["scope"], detail["level"])
            for kind, detail in details
            if "level" in detail
        ]

    async def waits(self, reason: Reason, gate: str | None, state: str) -> None:
        """Let a recipient wait so."""

        def write(at: Connection) -> None:
            with_message(at, 5, domain_id=self.domain_id)
            at.execute(
                update(schema.recipient).values(
                    state=state,
                    reason=reason.value,
                    gate=gate,
                    due_at=self.clock.unix_ms() + 3_600_000,
                )
            )

        await self.writer.transact(write)

    async def line(self, turns: int) -> None:
        """Let so many turns of the tenant be given out."""
        now = await self.writer.read(lambda at: lease_time(at, self.clock))
        row = {"site": LINE, "source": "", "next_at": (now + turns * 1_000) * 1_000}

        def write(at: Connection) -> None:
            at.execute(schema.pace.delete())
            at.execute(insert(schema.pace).values(row))

        await self.writer.transact(write)

    async def lines(self) -> int:
        count = select(func.count()).select_from(schema.pace)
        return await self.writer.read(lambda at: at.scalar(count)) or 0

    async def reason(self) -> Reason:
        query = select(schema.recipient.c.reason)
        return Reason(await self.writer.read(lambda at: at.scalar(query)) or "")

    async def recipient(self) -> tuple[str, int]:
        query = select(schema.recipient.c.state, schema.recipient.c.due_at)
        (row,) = await self.writer.read(lambda at: at.execute(query).all())
        return row.state, row.due_at


@pytest.fixture
async def world(writer: Writer, clock: FakeClock) -> World:
    place = World(writer, clock)
    await place.fill()
    return place


async def test_a_bad_rate_is_held_with_its_tenant_and_domain(world: World) -> None:
    await world.tallied(3, 1_000)
    orders = await world.writer.read(standing_orders)
    held = {(one.scope, one.subject, one.reason) for one in orders.holds}
    assert held == {
        (HoldScope.TENANT, "acme", Reason.COMPLAINTS),
        (HoldScope.DOMAIN, str(world.domain_id), Reason.COMPLAINTS),
    }
    assert orders.holds[0].explanation.startswith("0.30 % of the mail of ")
    assert set(await world.events()) == {
        ("complaints-rose", "tenant", "hold"),
        ("complaints-rose", "domain", "hold"),
        ("complaints-rose", "provider", "warn"),
    }
    told = [facts["level"] for name, facts in world.log.lines]
    assert sorted(map(str, told)) == ["hold", "hold", "warn"]


async def test_the_same_rate_is_told_once(world: World) -> None:
    await world.tallied(3, 3_000)
    before = await world.events()
    await world.tallied(4, 4_000)
    assert await world.events() == before
    assert await world.level() is Level.WARN


async def test_numbers_of_many_are_kept_in_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They change with every delivery: each alone would be a commit every two seconds."""
    await world.tallied(0, 0)
    table = schema.sent_tally

    def fill(at: Connection) -> None:
        row = at.execute(select(table)).mappings().one()
        changed = {"complaints": 3, "delivered": 2_900}
        for number in range(100, 150):
            at.execute(insert(table).values({**row, **changed, "domain_id": number}))

    await world.writer.transact(fill)
    world.duty._judged_at = None
    await world.judged()
    assert len(await world.writer.read(standings)) == 52  # tenant, domains, provider
    more = update(table).values(delivered=table.c.delivered + 1)
    await world.writer.transact(lambda at: at.execute(more).rowcount)
    transactions = 0
    transact = world.writer.transact

    async def counted(function: Callable[[Connection], object]) -> object:
        nonlocal transactions
        transactions += 1
        return await transact(function)

    monkeypatch.setattr(world.writer, "transact", counted)
    world.duty._judged_at = None
    await world.judged()
    assert transactions <= 4
    found = await world.writer.read(standings)
    assert {one.delivered for one in found if one.subject.scope is Scope.DOMAIN} == {
        2_901
    }


async def test_a_slowed_tenant_s_mail_is_due_at_once_when_its_rate_is_good(
    world: World,
) -> None:
    await world.tallied(4, 2_000)
    orders = await world.writer.read(standing_orders)
    assert Slowed(HoldScope.TENANT, "acme") in orders.slowed
    assert orders.holds == ()
    await world.waits(Reason.SLOWED, None, "queued")
    await world.tallied(0, 9_000)
    assert (await world.writer.read(standing_orders)).slowed == ()
    assert await world.recipient() == ("queued", world.clock.unix_ms())


async def test_held_mail_goes_when_the_days_are_over(world: World) -> None:
    await world.tallied(9, 1_000)
    await world.waits(Reason.COMPLAINTS, "tenant acme", "held")
    world.clock.advance(7 * 86_400)
    await world.judged()
    assert await world.level() is Level.GOOD
    assert (await world.writer.read(standing_orders)).holds == ()
    assert await world.recipient() == ("queued", world.clock.unix_ms())
    assert ("complaints-fell", "tenant", "good") in await world.events()


async def test_who_is_spared_goes_at_once_and_is_held_again_afterwards(
    world: World,
) -> None:
    await world.tallied(9, 1_000)
    await world.waits(Reason.COMPLAINTS, "tenant acme", "held")
    now = world.clock.unix_ms()
    await world.writer.transact(
        lambda at: spare(at, TENANT, until=now + 60_000, now=now)
    )
    await world.judged()
    assert await world.level() is Level.WARN
    assert (await world.writer.read(standing_orders)).holds == ()  # its domain's too
    assert await world.recipient() == ("queued", now)
    world.clock.advance(61)
    await world.judged()
    assert await world.level() is Level.HOLD


async def test_another_gate_holds_what_complaints_let_go(world: World) -> None:
    await world.tallied(9, 1_000)
    await world.waits(Reason.COMPLAINTS, "tenant acme", "held")
    gate = {"scope": "tenant", "subject": "acme", "reason": "operator-hold"}
    gate |= {"explanation": "by hand", "since": "1"}
    await world.writer.transact(lambda at: at.execute(insert(schema.gate).values(gate)))
    await world.tallied(0, 1_000)
    assert (await world.recipient())[0] == "held"
    (left,) = (await world.writer.read(standing_orders)).holds
    assert left.reason is Reason.OPERATOR_HOLD


async def test_what_was_slowed_is_not_let_go_by_being_held_between(
    world: World,
) -> None:
    """It asks for a turn again: those that passed while it was held are lost."""
    await world.tallied(4, 2_000)
    await world.waits(Reason.SLOWED, None, "queued")
    await world.line(3_600)
    await world.tallied(6, 2_000)
    assert (await world.level(), await world.reason()) == (Level.HOLD, Reason.ACCEPTED)
    assert await world.lines() == 0
    await world.tallied(4, 2_000)
    assert (await world.level(), await world.reason()) == (Level.SLOW, Reason.ACCEPTED)


async def test_what_waits_for_a_turn_leaves_at_once_when_its_holder_is_spared(
    world: World,
) -> None:
    await world.tallied(4, 2_000)
    await world.waits(Reason.SLOWED, None, "queued")
    await world.tallied(6, 2_000)
    now = world.clock.unix_ms()
    await world.writer.transact(lambda at: spare(at, TENANT, until=now + 9, now=now))
    await world.judged()
    assert await world.recipient() == ("queued", now)


async def test_who_is_slowed_anew_does_not_wait_behind_turns_of_before(
    world: World,
) -> None:
    await world.tallied(4, 2_000)
    await world.line(86_400)
    await world.tallied(0, 2_000)
    assert await world.lines() == 0


async def test_what_a_worker_puts_in_a_line_that_is_over_is_let_go(
    world: World,
) -> None:
    await world.tallied(4, 2_000)
    await world.tallied(0, 2_000)
    await world.waits(Reason.SLOWED, None, "queued")  # by orders as they were
    world.clock.advance(6)
    await world.judged()
    assert await world.recipient() == ("queued", world.clock.unix_ms())


async def test_a_line_that_was_let_go_by_half_is_so_at_the_next_start(
    world: World,
) -> None:
    await world.waits(Reason.SLOWED, None, "queued")
    await world.judged()
    assert await world.recipient() == ("queued", world.clock.unix_ms())


async def test_who_asks_again_meanwhile_is_not_let_go_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line begins anew while its holder is slowed: whoever is made due joins it again."""
    monkeypatch.setattr(effects, "PIECE", 1)
    await world.tallied(4, 2_000)
    await world.waits(Reason.SLOWED, None, "queued")
    world.clock.advance(600)
    await world.line(3_600)
    transact, pieces = world.writer.transact, 0

    async def and_a_worker(function: Callable[[Connection], object]) -> object:
        nonlocal pieces
        done = await transact(function)
        pieces += 1
        assert pieces < 20
        back = update(schema.recipient).values(reason=Reason.SLOWED.value)
        await transact(lambda at: at.execute(back).rowcount)
        return done

    monkeypatch.setattr(world.writer, "transact", and_a_worker)
    await world.judged()
    assert await world.lines() == 0


@pytest.mark.parametrize(("turns", "is_too_long"), [(50, False), (90, True)])
async def test_a_line_longer_than_who_waits_in_it_needs_begins_anew(
    world: World, turns: int, is_too_long: bool
) -> None:
    """Most of it was cancelled: who is left does not wait for turns of nobody."""
    await world.tallied(4, 2_000)
    await world.waits(Reason.SLOWED, None, "queued")
    world.clock.advance(600)
    await world.line(turns)
    await world.judged()
    assert await world.lines() == (0 if is_too_long else 1)
    asks_again = await world.reason() is Reason.ACCEPTED
    assert asks_again == is_too_long
