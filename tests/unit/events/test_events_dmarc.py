"""Figures of DMARC reports in the store: counted once, bounded, summed, swept."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, func, select

from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import ALWAYS, Alarm, alarms_on, tell
from soboo_mta.events.reports.dmarc import (
    DAY_MS,
    LEAST_KEPT,
    OF_ONE_SENDER,
    PROVED_A_DAY,
    UNPROVED_A_DAY,
    CountedReport,
    Figure,
    SignedCount,
    Whose,
    keep_report,
    sweep_dmarc,
)
from soboo_mta.events.reports.dmarc_view import (
    Reports,
    SignedTotal,
    SourceTotal,
    Total,
    are_tallied,
    authors_since,
    reported_authors,
    reports_on,
    signed_total,
    sources,
    totals,
)
from soboo_mta.events.reports.domains import our_signatures, set_up
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.store.schema import dmarc_report, dmarc_row, dmarc_signed, dmarc_told
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.domains import release_domain
from tests.fakes.dmarc_reports import OUR_ADDRESS, SB1, STRANGER, tallied_since
from tests.fakes.happenings import OK, tried, with_message
from tests.fakes.tenancy import ACME, NAME, RIVAL, with_domain, with_tenants

DAY = 20_000
NOW = DAY * DAY_MS + 5_000
GOOGLE, YAHOO = Domain("google.com"), Domain("yahoo.com")
OURS = Figure(
    whose=Whose.OURS,
    source=OUR_ADDRESS,
    author=NAME,
    dkim=True,
    spf=True,
    messages=10,
    signed=(SB1,),
    dkim_domain=NAME,
    spf_domain=f"bounce.{NAME}",
)
STRANGE = Figure(
    whose=Whose.OTHER,
    source=STRANGER,
    author=NAME,
    dkim=False,
    spf=False,
    messages=4,
    spf_domain="spam.example",
)


def counted(number: int = 1, *figures: Figure, **changed: Any) -> CountedReport:
    values: dict[str, Any] = {
        "returned_id": number,
        "received_at": NOW,
        "domain": NAME,
        "sender": GOOGLE,
        "reporter": "Google",
        "report_id": f"r-{number}",
        "first_day": DAY - 1,
        "last_day": DAY - 1,
        "figures": figures or (OURS, STRANGE),
        "signed": (SignedCount(author=NAME, signature=SB1, messages=10, elsewhere=2),),
    }
    return CountedReport(**(values | changed))


def kept(engine: Engine, *reports: CountedReport) -> list[bool]:
    return [write_now(engine, lambda at, r=one: keep_report(at, r)) for one in reports]


def number_of(engine: Engine, *tables: Table) -> list[int]:
    def counts(at: Connection) -> list[int]:
        return [
            int(at.scalar(select(func.count()).select_from(one)) or 0) for one in tables
        ]

    return read_now(engine, counts)


def test_a_report_counts_once(engine: Engine) -> None:
    assert kept(engine, counted(), counted(), counted(2)) == [True, False, True]
    assert number_of(engine, dmarc_report, dmarc_row, dmarc_signed) == [2, 4, 2]


def test_a_forged_report_takes_no_place_of_the_one_it_forges(engine: Engine) -> None:
    forged = counted(sender=None)
    others = counted(sender=Domain("evil.example"))
    assert kept(engine, forged, others, counted()) == [True, True, True]


def test_a_report_without_rows_is_kept(engine: Engine) -> None:
    assert kept(engine, counted(signed=(), figures=())) == [True]


@pytest.mark.parametrize(
    ("bound", "sender"),
    [
        (UNPROVED_A_DAY, lambda n: None),
        (OF_ONE_SENDER, lambda n: GOOGLE),
        (PROVED_A_DAY, lambda n: Domain(f"reporter{n}.example")),
    ],
)
def test_a_domains_day_is_bounded(
    engine: Engine, bound: int, sender: Callable[[int], Domain | None]
) -> None:
    def fill(at: Connection) -> list[bool]:
        some = (counted(n, OURS, sender=sender(n), signed=()) for n in range(bound + 1))
        return [keep_report(at, one) for one in some]

    assert write_now(engine, fill) == [True] * bound + [False]
    others = counted(9_001, domain=Domain("other.example"), sender=sender(9_001))
    tomorrow = counted(9_002, received_at=NOW + DAY_MS, sender=sender(9_002))
    assert kept(engine, others, tomorrow) == [True, True]
    if bound != PROVED_A_DAY:
        assert kept(engine, counted(9_003, sender=YAHOO)) == [True]


def test_sums_are_of_proved_reports_alone(engine: Engine) -> None:
    kept(
        engine,
        counted(1, left_out=5),
        counted(2, sender=YAHOO, first_day=DAY - 2, left_out=2),
        counted(3, sender=None, left_out=100),
        counted(4, first_day=DAY - 40, left_out=100),
    )
    since = DAY - 30
    found = read_now(engine, lambda at: totals(at, NAME, since))
    assert set(found) == {
        Total(whose=Whose.OURS, passes=True, messages=20),
        Total(whose=Whose.OTHER, passes=False, messages=8),
    }
    assert read_now(engine, lambda at: sources(at, NAME, since)) == (
        SourceTotal(
            source=OUR_ADDRESS,
            whose=Whose.OURS,
            passed=20,
            failed=0,
            dkim_domains=(NAME,),
            spf_domains=(f"bounce.{NAME}",),
        ),
        SourceTotal(
            source=STRANGER,
            whose=Whose.OTHER,
            passed=0,
            failed=8,
            spf_domains=("spam.example",),
        ),
    )
    assert read_now(engine, lambda at: reports_on(at, NAME, since)) == Reports(
        number=2, reporters=(GOOGLE, YAHOO), days=2, unproved=1, left_out=7
    )
    nobody = Domain("nobody.example")
    assert read_now(engine, lambda at: reports_on(at, nobody, since)) == Reports(
        number=0, reporters=(), days=0, unproved=0
    )


def test_domains_are_listed_that_are_set_up_here(engine: Engine) -> None:
    def made(at: Connection) -> None:
        with_tenants(at)
        with_domain(at)

    write_now(engine, made)
    elsewhere = Figure(
        whose=Whose.OTHER,
        source=STRANGER,
        author=Domain(f"shop.{NAME}"),
        dkim=True,
        spf=False,
        messages=1,
    )
    kept(engine, counted(1, OURS, elsewhere))
    assert read_now(engine, lambda at: reported_authors(at, DAY - 30)) == (NAME,)
    assert read_now(engine, lambda at: reported_authors(at, DAY)) == ()
    both = (NAME, elsewhere.author)
    assert read_now(engine, lambda at: authors_since(at, NOW)) == both
    assert read_now(engine, lambda at: authors_since(at, NOW + 1)) == ()


def test_a_signatures_total_is_of_all_reports_that_touch_the_days(
    engine: Engine,
) -> None:
    kept(
        engine,
        counted(1),
        counted(2, sender=YAHOO, first_day=DAY - 2, last_day=DAY - 1),
        counted(3, sender=None),
        counted(4, first_day=DAY - 3, last_day=DAY - 2),
        counted(5, first_day=DAY, last_day=DAY),
    )
    days = (DAY - 1, DAY - 1)
    found = read_now(engine, lambda at: signed_total(at, NAME, SB1, days))
    assert found == SignedTotal(
        messages=20, elsewhere=4, reports=2, first_day=DAY - 2, last_day=DAY - 1
    )
    other = (NAME, DnsName("sb2"))
    assert read_now(engine, lambda at: signed_total(at, NAME, other, days)) is None


def test_days_are_tallied_that_are_over_and_counted(engine: Engine) -> None:
    def is_so(first: int, last: int) -> bool:
        return read_now(engine, lambda at: are_tallied(at, first, last))

    assert not is_so(DAY, DAY)  # nothing counts
    write_now(engine, lambda at: tallied_since(at, DAY))
    assert [is_so(DAY, DAY), is_so(DAY + 1, DAY + 1)] == [False, True]

    def delivered(at: Connection) -> None:
        with_message(at, 1)
        tried(at, 1, OK, (DAY + 2) * DAY_MS)  # and the cursor stays before it

    write_now(engine, delivered)
    assert [is_so(DAY + 1, DAY + 1), is_so(DAY + 1, DAY + 2)] == [True, False]


async def test_what_is_old_is_swept(engine: Engine, writer: Writer) -> None:
    old = NOW - LEAST_KEPT // timedelta(milliseconds=1) - 1
    kept(engine, *(counted(n, received_at=old) for n in range(25)), counted(99))
    notes = [
        (EventKind.DMARC_FAILED, DAY - 50, old),
        (EventKind.DMARC_FAILED, DAY - 1, NOW),
        (EventKind.DMARC_POLICY_CAN_BE_RAISED, ALWAYS, old),
    ]
    for kind, day, at in notes:
        alarm = Alarm(kind=kind, domain=NAME, subject="x", day=day, detail={})
        assert write_now(engine, lambda c, a=alarm, n=at: tell(c, a, [ACME], now=n))
    await sweep_dmarc(writer, keep=timedelta(days=7), now=NOW)
    tables = (dmarc_report, dmarc_row, dmarc_signed, dmarc_told)
    assert number_of(engine, *tables) == [1, 2, 1, 2]
    assert await sweep_dmarc(writer, keep=timedelta(days=7), now=NOW) == 0


def test_an_alarm_is_told_once_to_each_tenant(engine: Engine) -> None:
    alarm = Alarm(
        kind=EventKind.DMARC_FAILED,
        domain=NAME,
        subject="google.com",
        day=DAY,
        detail={"count": 3},
    )

    def told(at: Connection) -> bool:
        return tell(at, alarm, [ACME, RIVAL], now=NOW)

    assert [write_now(engine, told), write_now(engine, told)] == [True, False]
    (past,) = read_now(engine, lambda at: alarms_on(at, NAME, NOW))
    assert (past.kind, past.at, past.detail) == (alarm.kind, NOW, {"count": 3})
    assert read_now(engine, lambda at: alarms_on(at, NAME, NOW + 1)) == ()


def test_domains_and_signatures_that_are_ours(engine: Engine) -> None:
    zone = Domain("zoned.example")

    def made(at: Connection) -> None:
        with_tenants(at)
        with_domain(at, selectors=tuple(map(DnsName, ("k1", "k2", "k3"))))
        with_domain(at, RIVAL, name=zone, mode=Mode.ZONE, zone=Domain(f"em.{zone}"))
        gone = with_domain(at, RIVAL, name=Domain("gone.example"))
        release_domain(at, gone, now=2)

    write_now(engine, made)
    names = (Domain("gone.example"), NAME, Domain("nobody.example"), zone, NAME)
    here = read_now(engine, lambda at: set_up(at, names))
    assert [(one.name, one.tenant, one.is_verified) for one in here] == [
        (NAME, ACME, False),
        (zone, RIVAL, False),
    ]
    operator = Domain("esp.example")
    found = read_now(engine, lambda at: our_signatures(at, here, operator))
    assert (NAME, DnsName("k1")) in found
    assert (NAME, DnsName("sb1")) not in found
    assert {(zone, DnsName("sb1")), (Domain(f"em.{zone}"), DnsName("sb1"))} <= found
    assert read_now(engine, lambda at: set_up(at, ())) == ()
    assert read_now(engine, lambda at: our_signatures(at, (), operator)) == frozenset()
