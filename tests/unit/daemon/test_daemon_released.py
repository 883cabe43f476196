"""The watch over released names on a real store: rows, events, and what it leaves alone."""

import pytest
from sqlalchemy import Engine

from soboo_mta.daemon.domains.released import StoredReleases
from soboo_mta.events.event import EventKind
from soboo_mta.events.history import domain_history
from soboo_mta.events.log import EventLog
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import DomainSettings
from soboo_mta.onboarding.watch.released import ReleasedOptions, ReleasedWatch
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.domains import (
    ReleasedDomain,
    domains_due,
    left_count,
    release_domain,
    released_domains,
)
from tests.fakes.clock import FakeClock
from tests.fakes.connector import Quiet
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR
from tests.fakes.tenancy import ACME, NAME, RIVAL, with_domain, with_tenants

DAY = 86_400


class NoAuthority:
    """An `Authority` that is not asked in mode cname."""

    async def each(self, name, kind):
        raise AssertionError("nobody asks")

    async def delegation(self, zone):
        raise AssertionError("nobody asks")

    async def is_bogus(self, name, kind):
        raise AssertionError("nobody asks")


@pytest.fixture
def dns() -> FakeResolver:
    return FakeResolver()


@pytest.fixture
def watch(writer: Writer, clock: FakeClock, dns: FakeResolver) -> ReleasedWatch:
    return ReleasedWatch(
        resolver=dns,
        authority=NoAuthority(),
        book=StoredReleases(writer, clock, EventLog(Quiet())),
        operator=OPERATOR,
        clock=clock,
        options=ReleasedOptions(),
    )


@pytest.fixture
def gone(engine: Engine, clock: FakeClock, dns: FakeResolver) -> DomainSettings:
    """A domain that was set up and released; its records are still there."""
    write_now(engine, with_tenants)
    made = write_now(engine, with_domain)
    for record in required_records(made, OPERATOR):
        dns.add(record.owner, record.kind, record.value)
    write_now(engine, lambda at: release_domain(at, made, now=clock.unix_ms()))
    return made


def kept(engine: Engine) -> ReleasedDomain:
    (one,) = read_now(engine, released_domains)
    return one


def told(engine: Engine) -> list[tuple[EventKind, object]]:
    past = read_now(
        engine, lambda at: domain_history(at, NAME, tenant=ACME, limit=1_000)
    )
    return [(one.kind, one.detail["names"]) for one in past]


async def test_names_left_behind_are_kept_told_and_cleared(
    engine: Engine,
    clock: FakeClock,
    dns: FakeResolver,
    watch: ReleasedWatch,
    gone: DomainSettings,
) -> None:
    assert await watch.round() == 1
    one = kept(engine)
    assert (one.settings.name, one.settings.tenant) == (NAME, ACME)
    assert [str(left.name) for left in one.left] == [
        "bounce.customer.com CNAME",
        "sb1._domainkey.customer.com CNAME",
        "sb2._domainkey.customer.com CNAME",
        "sb3._domainkey.customer.com CNAME",
    ]
    assert read_now(engine, left_count) == 4
    ((kind, names),) = told(engine)
    assert kind is EventKind.NAME_DANGLING
    assert f"bounce.customer.com CNAME {gone.token}.b.esp.example." in str(names)

    assert await watch.round() == 0  # once a day
    clock.advance(DAY)
    assert await watch.round() == 1
    assert len(told(engine)) == 1  # no news
    assert kept(engine).left[0].seen_at == clock.unix_ms()

    for left in one.left:
        dns.remove(left.name.owner)
    for _ in range(7):
        clock.advance(DAY)
        assert await watch.round() == 1
    assert [kind for kind, _ in told(engine)] == [
        EventKind.NAME_DANGLING,
        EventKind.NAME_CLEARED,
    ]
    assert (kept(engine).left, kept(engine).next_look_at) == ((), None)
    clock.advance(999 * DAY)
    assert await watch.round() == 0


async def test_the_same_name_set_up_again_is_another_domain(
    engine: Engine, clock: FakeClock, watch: ReleasedWatch, gone: DomainSettings
) -> None:
    new = write_now(engine, lambda at: with_domain(at, RIVAL))
    assert await watch.round() == 1  # the released one alone
    due = read_now(engine, lambda at: domains_due(at, now=1 << 62, limit=9))
    assert [view.settings.domain_id for view in due] == [new.domain_id]
    assert kept(engine).settings.token == gone.token != new.token
    assert read_now(engine, lambda at: released_domains(at, tenant=RIVAL)) == ()
