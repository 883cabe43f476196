"""What was sent and complained of, by day: each once, and nothing of what failed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.event import listen

from soboo_mta.events.attempt import AttemptFacts, attempted, plan_interned
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import newest, the_cursor
from soboo_mta.events.tally import counting
from soboo_mta.events.tally.counting import (
    CURSOR,
    DAY_MS,
    begin_counting,
    keep_count,
    read_count,
)
from soboo_mta.events.tally.standings import (
    Level,
    Scope,
    Standing,
    Subject,
    keep_standing,
    spare,
    standings,
)
from soboo_mta.events.tally.view import (
    Sent,
    forget_days,
    sent_by_selector,
    sent_from,
    sent_since,
)
from soboo_mta.formats.keys import Algorithm
from soboo_mta.identity.facts_json import plan_to_json
from soboo_mta.identity.state import Plan, Rung, SignaturePlan, Verdict
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, KeyId, MessageId, PlanId
from soboo_mta.mail.outcome import Outcome
from soboo_mta.store import schema
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.happenings import LATER, NO, OK, happened, with_message
from tests.fakes.tenancy import ACME, RIVAL, with_domain, with_tenants

YAHOO = "mta7.am0.yahoodns.net[192.0.2.1]:25"
CUSTOMER = Domain("customer.com")


@pytest.fixture
def filled(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def do(engine: Engine, *steps: Callable[[Connection], object]) -> None:
    def all_of_them(at: Connection) -> None:
        for step in steps:
            step(at)

    write_now(engine, all_of_them)


def provider_of(host: str) -> str:
    return "yahoo" if host.endswith("yahoodns.net") else ""


def count(engine: Engine) -> int:
    """Count all there is; return in how many parts."""
    write_now(engine, begin_counting)
    parts = 0
    while True:
        parts += 1
        found = read_now(engine, _read)
        write_now(engine, lambda at: keep_count(at, *found))  # noqa: B023 - called now
        if not found[1].is_full:
            return parts


def _read(at: Connection) -> tuple[counting.Cursor, counting.Count]:
    cursor = the_cursor(at, CURSOR)
    assert cursor is not None
    return cursor, read_count(at, cursor, newest(at), provider_of)


def sent(
    at: Connection,
    number: int,
    *,
    day: int = 0,
    outcome: Outcome = OK,
    host: str = YAHOO,
    plan: PlanId | None = None,
) -> None:
    facts = AttemptFacts(at=day * DAY_MS + number, host=host, source="a", plan_id=plan)
    perform(at, attempted(MessageId(number), 0, outcome, facts))


def complained(
    at: Connection,
    number: int,
    *,
    proved: bool = True,
    day: int = 0,
    attempt: int | None = None,
) -> None:
    detail = {"position": 0, "host": YAHOO, "proved": proved, "attempt": attempt}
    happened(at, EventKind.COMPLAINED, day * DAY_MS + 5, message=number, detail=detail)


def rows(engine: Engine) -> set[tuple[object, ...]]:
    table = schema.sent_tally
    query = select(
        table.c.day,
        table.c.tenant_id,
        table.c.provider,
        table.c.delivered,
        table.c.complaints,
    )
    return set(map(tuple, read_now(engine, lambda at: at.execute(query).all())))


def test_deliveries_add_up_by_day_tenant_and_provider(filled: Engine) -> None:
    do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: with_message(at, 2, RIVAL),
        lambda at: with_message(at, 3, domain_id=-4),  # a report of ours
        lambda at: [sent(at, 1) for _ in range(3)],
        lambda at: sent(at, 1, day=1),
        lambda at: sent(at, 1, host="mx.small.example[192.0.2.9]:25"),
        lambda at: sent(at, 2),
        lambda at: sent(at, 1, outcome=LATER),
        lambda at: sent(at, 2, outcome=NO),
        lambda at: sent(at, 3),
        lambda at: sent(at, 99),  # its message is gone
    )
    count(filled)
    assert rows(filled) == {
        (0, "acme", "yahoo", 3, 0),
        (1, "acme", "yahoo", 1, 0),
        (0, "acme", "", 1, 0),
        (0, "rival", "yahoo", 1, 0),
    }


def test_what_was_counted_is_not_counted_again_and_what_comes_is(
    filled: Engine,
) -> None:
    do(filled, lambda at: with_message(at, 1), lambda at: sent(at, 1))
    count(filled)
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 1, 0)}
    do(filled, lambda at: sent(at, 1))
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 2, 0)}


def test_of_two_who_count_one_does(filled: Engine) -> None:
    do(filled, begin_counting, lambda at: with_message(at, 1), lambda at: sent(at, 1))
    one, other = read_now(filled, _read), read_now(filled, _read)
    assert write_now(filled, lambda at: keep_count(at, *one))
    assert not write_now(filled, lambda at: keep_count(at, *other))
    assert rows(filled) == {(0, "acme", "yahoo", 1, 0)}


def test_a_long_log_is_counted_in_parts(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 4)
    do(filled, lambda at: with_message(at, 1))
    do(filled, lambda at: [sent(at, 1) for _ in range(11)])
    do(filled, lambda at: complained(at, 1))
    assert count(filled) == 3
    assert rows(filled) == {(0, "acme", "yahoo", 11, 0), (0, "acme", "yahoo", 0, 1)}


def test_counting_begins_with_the_oldest_row_and_not_with_all_that_went(
    filled: Engine,
) -> None:
    """Of a relay of years a part is empty a hundred thousand times."""
    do(filled, lambda at: with_message(at, 1), lambda at: sent(at, 1))
    table = schema.attempt
    do(filled, lambda at: at.execute(update(table).values(id=10**9)))
    assert count(filled) == 1
    assert rows(filled) == {(0, "acme", "yahoo", 1, 0)}


def test_a_recipient_complains_of_a_message_once_and_only_with_proof(
    filled: Engine,
) -> None:
    do(
        filled,
        lambda at: [with_message(at, number) for number in (1, 2, 3)],
        lambda at: complained(at, 1),
        lambda at: complained(at, 1),
        lambda at: complained(at, 2, proved=False),
    )
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 0, 1)}
    do(filled, lambda at: complained(at, 1), lambda at: complained(at, 3))
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 0, 2)}


def test_a_complaint_is_of_the_day_its_message_was_delivered_on(
    filled: Engine,
) -> None:
    """Who mails once in a while is complained of when its deliveries are of past days."""
    do(
        filled,
        lambda at: [with_message(at, number) for number in (1, 2)],
        lambda at: sent(at, 1, day=3),
    )
    (this,) = read_now(filled, lambda at: at.scalars(select(schema.attempt.c.id)).all())
    do(
        filled,
        lambda at: complained(at, 1, day=10, attempt=this),
        lambda at: complained(at, 2, day=10),  # nothing is known of its delivery
    )
    count(filled)
    assert rows(filled) == {
        (3, "acme", "yahoo", 1, 0),
        (3, "acme", "yahoo", 0, 1),
        (10, "acme", "yahoo", 0, 1),
    }


def test_a_report_that_is_repeated_is_looked_up_once(filled: Engine) -> None:
    """Whoever has one may bring it a thousand times: each is an event, none costs a look
    at all before it."""
    do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: [complained(at, 1) for _ in range(50)],
    )
    asked: list[str] = []

    def note(*facts: object) -> None:
        asked.append(str(facts[2]))

    listen(filled, "before_cursor_execute", note)
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 0, 1)}
    assert len(asked) < 30


def test_a_complaint_of_nobody_does_not_take_the_place_of_a_proved_one(
    filled: Engine,
) -> None:
    """Else whoever knows a Message-ID, its own sender first, could spare itself a rate."""
    do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: complained(at, 1, proved=False),
        lambda at: complained(at, 1),
    )
    count(filled)
    assert rows(filled) == {(0, "acme", "yahoo", 0, 1)}


def a_plan(*selectors: str) -> str:
    signatures = tuple(
        SignaturePlan(CUSTOMER, DnsName(one), KeyId(1), Algorithm.RSA)
        for one in selectors
    )
    return plan_to_json(
        Plan(
            rung=Rung.FULL,
            bounce_domain=Domain("bounce.customer.com"),
            signatures=signatures,
            ehlo_name=Domain("out.esp.example"),
            verdict=Verdict.PASS,
        )
    )


def test_a_domain_s_mail_is_known_by_selector_between_two_days(filled: Engine) -> None:
    domain_id = write_now(filled, with_domain).domain_id
    one, keep_one = plan_interned(a_plan("sb1"))
    two, keep_two = plan_interned(a_plan("sb1", "sb2"))
    do(
        filled,
        lambda at: perform(at, keep_one),
        lambda at: perform(at, keep_two),
        lambda at: with_message(at, 1, domain_id=domain_id),
        lambda at: with_message(at, 2, domain_id=domain_id + 1),
        lambda at: [sent(at, 1, day=3, plan=one) for _ in range(2)],
        lambda at: sent(at, 1, day=4, plan=two),
        lambda at: sent(at, 1, day=5, plan=None),
        lambda at: sent(at, 1, day=9, plan=one),
        lambda at: sent(at, 2, day=4, plan=one),
    )
    count(filled)

    def look(at: Connection) -> tuple[object, int]:
        span = {"domain": CUSTOMER, "first_day": 3, "last_day": 5}
        return sent_by_selector(at, **span), sent_from(at, **span)

    by_selector, whole = read_now(filled, look)
    sb1, sb2 = (CUSTOMER, DnsName("sb1")), (CUSTOMER, DnsName("sb2"))
    assert by_selector == {sb1: 3, sb2: 1}
    assert whole == 4


def test_old_days_are_forgotten_in_pieces(filled: Engine) -> None:
    def fill(at: Connection) -> None:
        one = {"domain_id": 1, "source": "", "plan_id": 0, "delivered": 1}
        one |= {"complaints": 0, "tenant_id": ACME}
        rows = [
            {**one, "day": day, "provider": str(provider)}
            for day in (1, 2)
            for provider in range(700)
        ]
        at.execute(insert(schema.sent_tally), rows)

    do(filled, fill)
    gone = []
    while more := write_now(filled, lambda at: forget_days(at, 2)):
        gone.append(more)
    assert gone == [500, 200]
    assert {row[0] for row in rows(filled)} == {2}
    (left, *_) = read_now(filled, lambda at: sent_since(at, 2))
    assert left == Sent(
        tenant=ACME,
        domain_id=DomainId(1),
        provider=left.provider,
        delivered=1,
        complaints=0,
    )


TENANT = Subject(scope=Scope.TENANT, name="acme", tenant=ACME)
HELD = Standing(
    subject=TENANT, level=Level.HOLD, complaints=9, delivered=1_000, since=7
)


def test_a_standing_is_kept_until_it_is_good(filled: Engine) -> None:
    do(filled, lambda at: keep_standing(at, HELD, now=8))
    assert read_now(filled, standings) == (HELD,)
    good = Standing(
        subject=TENANT, level=Level.GOOD, complaints=0, delivered=0, since=8
    )
    do(filled, lambda at: keep_standing(at, good, now=8))
    assert read_now(filled, standings) == ()


def test_who_is_spared_is_remembered_good_or_not(filled: Engine) -> None:
    other = Subject(scope=Scope.DOMAIN, name="7", tenant=ACME)
    do(
        filled,
        lambda at: keep_standing(at, HELD, now=8),
        lambda at: spare(at, TENANT, until=99, now=8),
        lambda at: spare(at, other, until=98, now=8),
    )
    held, good = read_now(filled, standings)
    assert (held.level, held.complaints, held.spared_until) == (Level.HOLD, 9, 99)
    assert (good.subject, good.level, good.spared_until) == (other, Level.GOOD, 98)


@pytest.mark.parametrize("level", [Level.GOOD, Level.WARN, Level.HOLD])
def test_what_was_judged_before_an_operator_s_word_does_not_take_it_back(
    filled: Engine, level: Level
) -> None:
    judged = replace(HELD, level=level)  # by what stood before the next line
    do(
        filled,
        lambda at: keep_standing(at, HELD, now=7),
        lambda at: spare(at, TENANT, until=99, now=8),
        lambda at: keep_standing(at, judged, now=9),
    )
    (found,) = read_now(filled, standings)
    assert (found.level, found.spared_until) == (level, 99)
    do(filled, lambda at: keep_standing(at, judged, now=99))  # it is over
    assert [one.spared_until for one in read_now(filled, standings)] == (
        [] if level is Level.GOOD else [0]
    )
