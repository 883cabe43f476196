"""The watch over a real store: whatever DNS says, no domain keeps it from the others."""

import pytest
from sqlalchemy import Engine, select, update

from soboo_mta.daemon.domains.book import StoredDomains
from soboo_mta.events.log import EventLog
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from soboo_mta.onboarding.watch.monitor import Monitor, MonitorOptions
from soboo_mta.onboarding.watch.states import Timers
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.domains import checks_of
from tests.fakes.clock import FakeClock
from tests.fakes.connector import Quiet
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR
from tests.fakes.tenancy import ACME, RIVAL, with_domain, with_tenants


class Broken(FakeResolver):
    """A bug of ours: a look-up that raises."""

    async def lookup(self, name, kind, *, fresh=False):
        if "bad" in name:
            raise RuntimeError("a bug")
        return await super().lookup(name, kind, fresh=fresh)


def a_monitor(writer: Writer, clock: FakeClock, dns: FakeResolver) -> Monitor:
    return Monitor(
        check=DomainCheck(
            resolver=dns,
            operator=OPERATOR,
            suffixes=SuffixList(),
            clock=clock,
            options=CheckOptions(),
        ),
        book=StoredDomains(
            writer=writer, clock=clock, log=EventLog(Quiet()), timers=Timers()
        ),
        operator=OPERATOR,
        clock=clock,
        options=MonitorOptions(at_once=2),
        operator_facts=lambda: None,
    )


async def test_looks_that_break_do_not_keep_the_watch_from_other_domains(
    writer: Writer, engine: Engine, clock: FakeClock
) -> None:
    write_now(engine, with_tenants)
    for name in ("bad1.example", "bad2.example"):
        domain = Domain(name)
        write_now(engine, lambda at, domain=domain: with_domain(at, RIVAL, name=domain))
    good = write_now(
        engine, lambda at: with_domain(at, ACME, name=Domain("ok.example"))
    )
    last = (
        update(sending_domain)
        .where(sending_domain.c.id == good.domain_id)
        .values(next_check_at=1)
    )
    write_now(engine, lambda at: at.execute(last))
    monitor = a_monitor(writer, clock, Broken())
    assert [await monitor.round() for _ in range(3)] == [2, 1, 0]
    facts_at = select(sending_domain.c.facts_at).where(
        sending_domain.c.id == good.domain_id
    )
    assert read_now(engine, lambda at: at.scalar(facts_at)) is not None
    clock.advance(301)
    assert await monitor.round() == 2  # looked at again later


@pytest.mark.parametrize("owner", ["customer.com", "_dmarc.customer.com"])
async def test_a_nul_in_a_customers_txt_is_kept_from_the_store(
    writer: Writer, engine: Engine, clock: FakeClock, owner: str
) -> None:
    write_now(engine, with_tenants)
    made = write_now(engine, with_domain)
    dns = FakeResolver()
    dns.add(owner, "TXT", "v=spf1 \0 ~all")
    dns.add(owner, "TXT", "v=DMARC1; p=reject; x=\0")
    await a_monitor(writer, clock, dns).round()
    checks = read_now(engine, lambda at: checks_of(at, made.domain_id))
    assert checks
    assert not any("\0" in check.found for check in checks)
