"""A receiver says that a domain's mail does not authenticate: its DNS is looked at again."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, select, update

from soboo_mta.events.event import EventKind
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.ids import DomainId, MessageId
from soboo_mta.store import schema
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.domains import release_domain
from soboo_mta.tenancy.doubts import DOUBTED_EVENT, Doubts
from tests.fakes.clock import FakeClock
from tests.fakes.tenancy import with_domain, with_tenants

HOUR = 3_600_000


@pytest.fixture
def settings(engine: Engine, clock: FakeClock) -> DomainSettings:
    """Looked at an hour ago, due in another."""

    def made(connection: Connection) -> DomainSettings:
        with_tenants(connection)
        made = with_domain(connection)
        now = clock.unix_ms()
        times = {"facts_at": now - HOUR, "next_check_at": now + HOUR}
        looked(connection, made.domain_id, **times)
        return made

    return write_now(engine, made)


@pytest.fixture
def domain(settings: DomainSettings) -> DomainId:
    return settings.domain_id


def looked(connection: Connection, domain_id: DomainId, **values: int) -> None:
    which = schema.sending_domain.c.id == domain_id
    connection.execute(update(schema.sending_domain).where(which).values(values))


def due_at(engine: Engine) -> int:
    query = select(schema.sending_domain.c.next_check_at)
    return read_now(engine, lambda at: at.scalars(query).one())


def told(engine: Engine) -> list[tuple[str, str, str, int, str]]:
    event = schema.event.c
    query = select(
        event.tenant_id, event.domain, event.actor, event.message_id, event.detail
    ).where(event.kind == DOUBTED_EVENT)
    return read_now(engine, lambda at: [tuple(row) for row in at.execute(query)])


def doubt(engine: Engine, doubts: Doubts, domain_id: DomainId) -> None:
    unit = doubts.raised(
        domain_id, message_id=MessageId(5), actor="transfer", detail={"reply": "550 no"}
    )
    write_now(engine, lambda at: perform(at, *unit))


def test_a_doubted_domain_is_due_at_once_and_told(
    engine: Engine, clock: FakeClock, domain: DomainId
) -> None:
    doubt(engine, Doubts(clock), domain)
    assert due_at(engine) == clock.unix_ms()
    ((tenant, name, actor, message_id, detail),) = told(engine)
    assert (tenant, name, actor, message_id) == ("acme", "customer.com", "transfer", 5)
    assert json.loads(detail) == {"reply": "550 no"}


def test_the_word_is_the_events() -> None:
    assert EventKind(DOUBTED_EVENT) is EventKind.DOMAIN_DOUBTED


def test_a_refused_mailing_costs_the_store_one_statement_in_five_minutes(
    clock: FakeClock, domain: DomainId
) -> None:
    doubts = Doubts(clock)

    def raised() -> int:
        return len(doubts.raised(domain, message_id=MessageId(5), actor="x", detail={}))

    assert [raised() for _ in range(10_000)] == [2, *[0] * 9_999]
    clock.advance(timedelta(minutes=5).total_seconds())
    assert raised() == 2


async def test_another_process_does_not_ask_again(
    engine: Engine, writer: Writer, clock: FakeClock, domain: DomainId
) -> None:
    for _ in range(3):  # each with a memory of its own, before the monitor came to it
        await writer.commit(
            Doubts(clock).raised(
                domain, message_id=MessageId(5), actor="transfer", detail={}
            )
        )
    assert len(told(engine)) == 1
    now = clock.unix_ms()  # it came, and leaves the domain alone for an hour
    write_now(
        engine,
        lambda at: looked(at, domain, facts_at=now, next_check_at=now + HOUR),
    )
    clock.advance(60)
    doubt(engine, Doubts(clock), domain)
    assert due_at(engine) == now + HOUR
    assert len(told(engine)) == 1
    clock.advance(300)
    doubt(engine, Doubts(clock), domain)
    assert due_at(engine) == clock.unix_ms()
    assert len(told(engine)) == 2


def test_a_released_domain_is_left_alone(
    engine: Engine, clock: FakeClock, settings: DomainSettings
) -> None:
    write_now(engine, lambda at: release_domain(at, settings, now=clock.unix_ms()))
    before = due_at(engine)
    doubt(engine, Doubts(clock), settings.domain_id)
    assert due_at(engine) == before
    assert told(engine) == []
