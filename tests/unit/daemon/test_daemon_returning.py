"""What a proven return does to a tenant's list and to its domain's next look."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, select, update

from soboo_mta.daemon.returning import StoredConsequences
from soboo_mta.events.event import EventKind
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.ids import MessageId
from soboo_mta.returns.verdict import Verdict
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.returned.settling import About
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.tenancy.suppression import SuppressionRules
from tests.fakes.clock import FakeClock
from tests.fakes.dmarc_reports import a_desk
from tests.fakes.tenancy import ACME, NAME, with_domain, with_tenants

HOUR = 3_600_000
BACK = Verdict(event=EventKind.RETURNED, text="550 5.7.26 no", is_final=True)


@pytest.fixture
def whom(engine: Engine, clock: FakeClock) -> About:
    def made(connection: Connection) -> About:
        with_tenants(connection)
        domain, now = with_domain(connection), clock.unix_ms()
        times = {"facts_at": now - HOUR, "next_check_at": now + HOUR}
        connection.execute(update(schema.sending_domain).values(times))
        return About(
            message_id=MessageId(5),
            position=0,
            tenant=ACME,
            domain_id=domain.domain_id,
            domain=NAME,
            recipient=parse_mailbox("bob@there.example"),
            state=RecipientState.DELIVERED,
            host="mx.there.example[192.0.2.1]:25",
        )

    return write_now(engine, made)


@pytest.mark.parametrize(
    ("bounce_class", "suppressed", "looks"),
    [
        (BounceClass.UNAUTHENTICATED, 0, 1),
        (BounceClass.INVALID_MAILBOX, 1, 0),
        (BounceClass.SPAM_CONTENT, 0, 0),
    ],
)
def test_what_follows_is_the_classs(
    engine: Engine,
    clock: FakeClock,
    whom: About,
    bounce_class: BounceClass,
    suppressed: int,
    looks: int,
) -> None:
    rules = SuppressionRules(soft=None)
    consequences = StoredConsequences(Doubts(clock), rules, a_desk(clock))
    said = replace(BACK, classified=own_rules().of(bounce_class))
    now = clock.unix_ms()
    for _ in range(2):  # the domain is looked at once for both
        write_now(engine, lambda at: consequences.failed(at, whom, said, now=now))
    event, domain = schema.event.c, schema.sending_domain.c
    doubts = select(event.message_id).where(event.kind == EventKind.DOMAIN_DOUBTED)
    assert read_now(engine, lambda at: at.scalars(doubts).all()) == [5] * looks
    due_at = read_now(engine, lambda at: at.scalars(select(domain.next_check_at)).one())
    assert due_at == (now if looks else now + HOUR)
    rows = read_now(engine, lambda at: at.execute(select(schema.suppression)).all())
    assert len(rows) == suppressed
