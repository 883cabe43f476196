"""A DMARC report that comes is counted, and what it shows is told: incidents, replays, and
that a policy can be raised."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.dmarc import DAY_MS, Whose
from soboo_mta.events.reports.dmarc_view import reports_on, totals
from soboo_mta.formats.authentication import Authentication, Result
from soboo_mta.identity.dmarc import view_by_walk
from soboo_mta.identity.facts_json import facts_to_json
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.returned import DmarcReport
from soboo_mta.returns.reports.dmarc_standing import dmarc_standing, tell_raisable
from soboo_mta.store.schema import dmarc_report, event, sending_domain
from soboo_mta.tenancy.domains import release_domain
from tests.fakes.clock import FakeClock
from tests.fakes.dmarc_reports import (
    FAILS,
    FORWARDER,
    OUR_ADDRESS,
    SB1,
    STRANGE,
    STRANGER,
    SentBefore,
    a_desk,
    a_report,
    proof,
    row,
    signed,
    tallied_since,
    today,
    xml,
    zipped,
)
from tests.fakes.returns import ReturnDesk, return_desk
from tests.fakes.tenancy import ACME, NAME, RIVAL, facts, with_domain, with_tenants
from tests.unit.formats.returned_examples import attached
from tests.unit.returns.test_returns_reading import bring, kept

HOUR = 3_600_000


@pytest.fixture
def sent() -> SentBefore:
    return SentBefore()


@pytest.fixture
async def one(writer: Any, clock: FakeClock, sent: SentBefore) -> ReturnDesk:
    """customer.com is verified for acme, set up by rival, and was looked at an hour ago;
    deliveries are counted since long ago."""
    found = return_desk(writer, clock)
    found.consequences.desk = a_desk(clock, sent)
    found.sender.proves = proof()
    now = clock.unix_ms()

    def made(at: Connection) -> None:
        with_tenants(at)
        with_domain(at)
        verified = {"verified_at": 1, "facts_at": now - HOUR}
        at.execute(update(sending_domain).values(**verified, next_check_at=now + HOUR))
        with_domain(at, RIVAL)
        tallied_since(at, today(clock) - 100)

    await writer.transact(made)
    return found


async def report_in(
    one: ReturnDesk,
    report: DmarcReport,
    *,
    is_old: bool = False,
    pack: Callable[[bytes], bytes] = gzip.compress,
    proves: Authentication | None = None,
) -> None:
    """Bring a report's mail to the mailbox for reports, and read it."""
    if proves is not None:
        one.sender.proves = proves
    media = "application/zip" if pack is zipped else "application/gzip"
    octets = pack(xml(report, is_old=is_old))
    mail = attached(octets, media=media, name="report")
    await bring(one, mail, "dmarc@esp.example", sender="reports@receiver.example")
    await one.read_all()
    assert one.log.errors == []


def yesterday(one: ReturnDesk) -> int:
    return today(one.clock) - 1


async def told(one: ReturnDesk, kind: EventKind) -> list[tuple[str, str, Any]]:
    """(tenant, domain, detail) of the events of one kind."""
    query = select(event).where(event.c.kind == kind).order_by(event.c.id)
    rows = await one.writer.read(lambda at: at.execute(query).all())
    return [(row.tenant_id, row.domain, json.loads(row.detail)) for row in rows]


async def counted(one: ReturnDesk) -> int:
    query = select(func.count()).select_from(dmarc_report)
    return int(await one.writer.read(lambda at: at.scalar(query)) or 0)


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize("pack", [gzip.compress, zipped])
async def test_case_110_a_report_of_either_form_is_counted_once(
    one: ReturnDesk, is_old: bool, pack: Callable[[bytes], bytes]
) -> None:
    rows = (row(count=7), row(STRANGER, 3, **STRANGE))
    for _ in range(2):
        report = a_report(yesterday(one), *rows)
        await report_in(one, report, is_old=is_old, pack=pack)
    assert [one.kind for one in await kept(one)] == ["dmarc-report"] * 2
    found = await one.writer.read(lambda at: totals(at, NAME, yesterday(one)))
    assert sorted((t.whose.value, t.passes, t.messages) for t in found) == [
        ("other", False, 3),
        ("ours", True, 7),
    ]
    reports = await one.writer.read(lambda at: reports_on(at, NAME, 0))
    assert reports.reporters == ("receiver.example",)


async def test_reporters_are_known_by_their_organization(one: ReturnDesk) -> None:
    report = a_report(yesterday(one), row())
    await report_in(one, report, proves=proof("a.reports.receiver.example"))
    reports = await one.writer.read(lambda at: reports_on(at, NAME, 0))
    assert reports.reporters == ("receiver.example",)


@pytest.mark.parametrize(
    "changed",
    [
        {"domain": "nobody.example", "rows": (row(header_from="nobody.example"),)},
        {"domain": "localhost"},
        {"domain": "*.customer.com"},
        {"day": -70},
        {"day": 5},
    ],
)
async def test_what_is_not_about_mail_from_here_is_kept_and_not_counted(
    one: ReturnDesk, changed: dict[str, Any]
) -> None:
    values = dict(changed)
    day = today(one.clock) + values.pop("day", -1)
    report = a_report(day, *values.pop("rows", (row(),)), **values)
    await report_in(one, report)
    assert [one.kind for one in await kept(one)] == ["dmarc-report"]
    assert await counted(one) == 0


async def test_reports_on_names_above_and_below_are_counted(one: ReturnDesk) -> None:
    news, deep = Domain("news.above.example"), f"a.b.{NAME}"

    def made(at: Connection) -> None:
        with_domain(at, name=news)
        release_domain(at, with_domain(at, name=Domain("gone.example")), now=2)

    await one.writer.transact(made)
    rows = (row(header_from=news, count=2), row(header_from="above.example"))
    day = yesterday(one)
    for report in (
        a_report(day, *rows, domain="above.example"),
        a_report(day, row(header_from=deep), domain=deep),
        a_report(day, row(header_from="gone.example"), domain="gone.example"),
    ):
        await report_in(one, report)
    assert await counted(one) == 2
    (total,) = await one.writer.read(lambda at: totals(at, news, day))
    assert total.messages == 2


async def test_mail_of_ours_that_fails_is_told_once_and_the_domain_looked_at(
    one: ReturnDesk,
) -> None:
    day = yesterday(one)
    rows = (row(count=5), row(count=4, **FAILS))
    for number in range(2):  # two reports of one reporter and day
        await report_in(one, a_report(day, *rows, report_id=f"r-{number}"))
    ((tenant, domain, detail),) = await told(one, EventKind.DMARC_FAILED)
    assert (tenant, domain) == (ACME, NAME)  # whose it is, not who set it up too
    assert detail == {
        "reporter": "receiver.example",
        "return": 1,
        "day": "2025-12-31",
        "source": OUR_ADDRESS,
        "count": 4,
        "dkim": f"fail d={NAME} s=sb1",
        "spf": f"softfail bounce.{NAME}",
    }
    ((_, _, doubt),) = await told(one, EventKind.DOMAIN_DOUBTED)
    assert doubt == detail
    due = select(sending_domain.c.next_check_at).where(
        sending_domain.c.tenant_id == ACME
    )
    now = one.clock.unix_ms()
    assert await one.writer.read(lambda at: at.scalars(due).all()) == [now]
    alarms = [fact for name, fact in one.log.facts if name == "domain_alarm"]
    assert [fact["given"][:2] for fact in alarms] == [("dmarc-failed", NAME)]

    await report_in(one, a_report(day - 1, *rows))  # another day
    await report_in(one, a_report(day, *rows), proves=proof("other.example"))
    found = await told(one, EventKind.DMARC_FAILED)
    assert [(d["day"], d["reporter"]) for _, _, d in found[1:]] == [
        ("2025-12-30", "receiver.example"),
        ("2025-12-31", "other.example"),
    ]


@pytest.mark.parametrize(
    "proves", [proof(result=Result.FAIL), proof(None, Result.NONE), None]
)
async def test_a_report_that_nobody_is_proved_to_have_sent_changes_nothing(
    one: ReturnDesk, sent: SentBefore, proves: Authentication | None
) -> None:
    one.sender.proves = proves
    rows = (row(count=4, **FAILS), row(FORWARDER, 5_000))
    await report_in(one, a_report(yesterday(one), *rows))
    assert await one.told() == []
    assert sent.asked == []
    assert await one.writer.read(lambda at: totals(at, NAME, 0)) == ()
    reports = await one.writer.read(lambda at: reports_on(at, NAME, 0))
    assert (reports.number, reports.unproved) == (0, 1)


async def test_case_075_more_reported_than_was_sent_is_a_replay_told_once(
    one: ReturnDesk, sent: SentBefore
) -> None:
    sent.delivered = {SB1: 1_000}
    day = yesterday(one)
    direct = a_report(day, row(count=1_000))
    await report_in(one, direct)
    await report_in(one, a_report(day, row(FORWARDER, 20)), proves=proof("two.example"))
    assert await told(one, EventKind.REPLAY_SUSPECTED) == []  # the tolerance

    for number in range(2):
        report = a_report(day, row(FORWARDER, 1), report_id=f"{number}")
        await report_in(one, report, proves=proof("three.example"))
    ((tenant, domain, detail),) = await told(one, EventKind.REPLAY_SUSPECTED)
    assert (tenant, domain) == (ACME, NAME)
    assert detail == {
        "d": NAME,
        "selector": "sb1",
        "from": "2025-12-31",
        "until": "2025-12-31",
        "reported": 1_021,
        "elsewhere": 21,
        "delivered": 1_000,
        "reports": 3,
        "reporter": "three.example",
        "return": 3,
    }
    assert set(sent.asked) == {(NAME, day, day)}


async def test_a_replay_is_judged_by_all_days_that_the_reports_touch(
    one: ReturnDesk, sent: SentBefore
) -> None:
    day = yesterday(one)
    early = a_report(day - 1, row(count=5))
    shifted = replace(early, end=early.end + timedelta(hours=8))
    await report_in(one, shifted)
    assert sent.asked == []  # so few are never a replay
    await report_in(one, a_report(day, row(count=6)), proves=proof("two.example"))
    assert sent.asked[-1] == (NAME, day - 1, day)


async def test_days_before_deliveries_were_counted_are_no_replay(
    writer: Any, clock: FakeClock, sent: SentBefore
) -> None:
    found = return_desk(writer, clock)
    found.consequences.desk = a_desk(clock, sent)
    found.sender.proves = proof()
    day = yesterday(found)

    def made(at: Connection) -> None:
        with_tenants(at)
        with_domain(at)
        at.execute(update(sending_domain).values(verified_at=1))

    await writer.transact(made)
    await report_in(found, a_report(day, row(FORWARDER, 5_000)))
    await writer.transact(lambda at: tallied_since(at, day))
    await report_in(found, a_report(day, row(FORWARDER, 5_000), report_id="r-2"))
    assert sent.asked == []
    assert await told(found, EventKind.REPLAY_SUSPECTED) == []


async def test_days_before_the_domain_was_here_are_no_replay(
    one: ReturnDesk, sent: SentBefore
) -> None:
    """Another system signed with the selector then, or one that was released here."""
    day = yesterday(one)
    came = update(sending_domain).where(sending_domain.c.tenant_id == ACME)
    await one.writer.transact(
        lambda at: at.execute(came.values(created_at=day * DAY_MS))
    )
    await report_in(one, a_report(day, row(FORWARDER, 5_000)))
    assert sent.asked == []
    assert await told(one, EventKind.REPLAY_SUSPECTED) == []


async def test_a_name_that_nobody_proved_alarms_nobody(
    one: ReturnDesk, sent: SentBefore
) -> None:
    """Who sets up another's domain, with its selectors, gets no say on its mail."""
    victim = Domain("victim.example")
    selectors = tuple(map(DnsName, ("google", "k2", "k3")))
    await one.writer.transact(
        lambda at: with_domain(at, RIVAL, name=victim, selectors=selectors)
    )
    results = (signed(victim, "google"),)
    rows = (
        row(FORWARDER, 5_000, header_from=victim, dkim_results=results),
        row(OUR_ADDRESS, 3, **{**FAILS, "header_from": victim}),
    )
    await report_in(one, a_report(yesterday(one), *rows, domain=victim))
    assert await counted(one) == 1
    assert (await one.told(), sent.asked) == ([], [])
    assert [name for name, _ in one.log.facts if name == "domain_alarm"] == []
    found = await one.writer.read(lambda at: totals(at, victim, 0))
    assert {t.whose: t.messages for t in found} == {Whose.OTHER: 5_000, Whose.OURS: 3}


async def test_a_domain_below_anothers_is_told_of_to_its_own_tenant(
    one: ReturnDesk,
) -> None:
    news = Domain(f"news.{NAME}")

    def made(at: Connection) -> None:
        theirs = with_domain(at, RIVAL, name=news)
        this = sending_domain.c.id == theirs.domain_id
        at.execute(update(sending_domain).where(this).values(verified_at=1))

    await one.writer.transact(made)
    rows = (row(**FAILS), row(count=2, **{**FAILS, "header_from": news}))
    await report_in(one, a_report(yesterday(one), *rows))
    found = await told(one, EventKind.DMARC_FAILED)
    assert [(tenant, domain, d["count"]) for tenant, domain, d in found] == [
        (ACME, NAME, 1),
        (RIVAL, news, 2),
    ]


# ---- advice


async def fortnight(one: ReturnDesk, *, days: int = 14, fails: int = 0) -> None:
    """Reports of two reporters on as many days; DNS shows p=none."""
    texts = {DnsName(f"_dmarc.{NAME}"): ("v=DMARC1; p=none",)}
    seen = replace(facts(), walk=view_by_walk(NAME, (), texts))
    values = {"facts": facts_to_json(seen)}
    await one.writer.transact(
        lambda at: at.execute(update(sending_domain).values(values))
    )
    for day in range(1, days + 1):
        for reporter in ("one.example", "two.example"):
            rows = [row(count=50)]
            if fails and day == days:
                rows.append(row(count=fails, **FAILS))
            report = a_report(today(one.clock) - day, *rows)
            await report_in(one, report, proves=proof(reporter))


async def test_that_a_policy_can_be_raised_is_told_once(one: ReturnDesk) -> None:
    await fortnight(one)
    now = one.clock.unix_ms()
    for _ in range(2):
        await tell_raisable(one.writer, since=now - DAY_MS, now=now)
    ((tenant, domain, detail),) = await told(one, EventKind.DMARC_POLICY_CAN_BE_RAISED)
    assert (tenant, domain) == (ACME, NAME)
    assert (detail["policy"], detail["raise_to"]) == ("none", "quarantine")
    assert detail["because"][0] == (
        "1400 messages in reports of 14 days by 2 reporters"
    )


@pytest.mark.parametrize(("days", "fails"), [(13, 0), (14, 1)])
async def test_that_it_cannot_yet_is_told_nobody(
    one: ReturnDesk, days: int, fails: int
) -> None:
    await fortnight(one, days=days, fails=fails)
    now = one.clock.unix_ms()
    assert await tell_raisable(one.writer, since=now - DAY_MS, now=now) == 0
    assert await tell_raisable(one.writer, since=now + 1, now=now) == 0


async def test_a_standing_has_all_of_it(one: ReturnDesk) -> None:
    await fortnight(one, days=2, fails=1)
    standing = await one.writer.read(
        lambda at: dmarc_standing(at, NAME, today=today(one.clock), days=1)
    )
    assert (standing.reports.number, standing.shares.messages) == (2, 100)
    assert standing.advice.policy == "none"
    assert "there are reports of 2 of the last 30 days" in standing.advice.reasons[0]
    assert "2 messages from our own addresses failed" in standing.advice.reasons[-1]
