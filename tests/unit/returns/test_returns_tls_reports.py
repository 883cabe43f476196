"""TLS reports that were read are added up once, where they are proved to be somebody's."""

import asyncio
import gzip
import json
from datetime import timedelta
from ipaddress import ip_address

import pytest
from sqlalchemy import Engine, select, update

from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.tls import failures, sessions, sweep_tls_reports
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import Reject
from soboo_mta.returns.reports.door import (
    MEDIA,
    NO_REPORT,
    ReportDoor,
    limit_of,
)
from soboo_mta.returns.reports.tls import DAY_MS, MAX_OF_REPORTER
from soboo_mta.spool.returned.keeping import Keeping
from soboo_mta.store.schema import (
    event,
    sending_domain,
    tls_failure,
    tls_report,
    tls_told,
)
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.returns import ReturnDesk, return_desk
from tests.fakes.tenancy import ACME, NAME, RIVAL, with_domain, with_tenants
from tests.fakes.tls_reports import (
    EXPIRED,
    HOST,
    mailed,
    octets,
    policy,
    proof,
)
from tests.fakes.tls_reports import (
    tls_report as report,
)
from tests.unit.returns.test_returns_reading import bring, kept

TO = "tls@esp.example"
CLIENT = ip_address("192.0.2.7")
URL = "https://mta.esp.example/tls-reports"
SIGNED = proof("there.example")


@pytest.fixture
async def one(writer: Writer, clock: FakeClock) -> ReturnDesk:
    await writer.transact(with_tenants)
    await writer.transact(with_domain)
    await verified(writer)
    made = return_desk(writer, clock)
    made.sender.proves = SIGNED
    return made


@pytest.fixture
def door(one: ReturnDesk) -> ReportDoor:
    return ReportDoor(
        keeping=Keeping(writer=one.writer, clock=one.clock, least=0),
        clock=one.clock,
        log=one.log,
        url=URL,
    )


async def verified(writer: Writer) -> None:
    clause = update(sending_domain).values(verified_at=1)
    await writer.transact(lambda at: at.execute(clause).rowcount)


async def by_mail(
    one: ReturnDesk, *policies: dict[str, object], **changed: str
) -> None:
    """One report is brought and read."""
    found = report(*policies, ends_at=one.clock.unix_ms(), **changed)
    await bring(one, mailed(found), TO, sender="tls@there.example")
    await one.read_all()


async def figures(one: ReturnDesk) -> list[tuple[str, str, bool, int, int, int]]:
    rows = await one.writer.read(lambda at: sessions(at, since=0))
    return [
        (row.host, row.policy, row.is_proved, row.reports, row.succeeded, row.failed)
        for row in rows
    ]


async def events(one: ReturnDesk) -> list[tuple[str | None, str | None, str, str]]:
    query = (
        select(event).where(event.c.kind == EventKind.TLS_FAILING).order_by(event.c.id)
    )
    rows = await one.writer.read(lambda at: at.execute(query).all())
    return [
        (row.tenant_id, row.domain, detail["bounce_host"], detail["result"])
        for row in rows
        if (detail := json.loads(row.detail))
    ]


def logged(one: ReturnDesk, name: str) -> list[dict[str, object]]:
    return [facts for what, facts in one.log.facts if what == name]


async def test_a_signed_report_is_added_up_and_told_to_the_tenant(
    one: ReturnDesk,
) -> None:
    await by_mail(one, policy(HOST, EXPIRED), policy(HOST, kind="tlsa", succeeded=2))
    assert await figures(one) == [
        (HOST, "sts", True, 1, 5326, 3),
        (HOST, "tlsa", True, 1, 2, 0),
    ]
    (failed,) = await one.writer.read(lambda at: failures(at, since=0, limit=9))
    assert (failed.result, failed.sessions, failed.receiving_mx, failed.sending_ip) == (
        "certificate-expired",
        3,
        "mx.esp.example",
        "198.51.100.62",
    )
    assert (failed.reporter, failed.reason) == ("There Ltd", "expired yesterday")
    assert await events(one) == [(ACME, NAME, HOST, "certificate-expired")]
    (told,) = logged(one, "tls_failing")
    assert (told["given"], told["sessions"]) == ((HOST,), 3)
    assert one.log.errors == []


async def test_the_same_report_counts_once(one: ReturnDesk) -> None:
    await by_mail(one, policy(HOST, EXPIRED))
    await by_mail(one, policy(HOST, EXPIRED))
    assert await figures(one) == [(HOST, "sts", True, 1, 5326, 3)]
    why = [facts["passed_over"] for facts in logged(one, "tls_report")]
    assert why == ["", "it was counted before"]
    assert [row.kind for row in await kept(one)] == ["tls-report", "tls-report"]


async def test_two_relays_that_settle_one_report_count_it_once(
    one: ReturnDesk, engine: Engine
) -> None:
    other_writer = Writer(engine)
    await other_writer.start()
    try:
        other = return_desk(other_writer, one.clock)
        other.sender.proves = SIGNED
        found = mailed(report(policy(HOST, EXPIRED), ends_at=one.clock.unix_ms()))
        for number in range(10):  # each claims what the other has not
            await bring(one, found, TO, sender=f"{number}@there.example")
        await asyncio.gather(one.read_all(), other.read_all())
    finally:
        await other_writer.close()
    assert [row.kind for row in await kept(one)] == ["tls-report"] * 10
    assert await figures(one) == [(HOST, "sts", True, 1, 5326, 3)]
    assert len(await events(one)) == 1
    assert one.log.errors == other.log.errors == []


async def test_trouble_is_told_once_a_day_for_each_result(one: ReturnDesk) -> None:
    missing = {**EXPIRED, "result-type": "starttls-not-supported"}
    await by_mail(one, policy(HOST, EXPIRED), report_id="1")
    await by_mail(one, policy(HOST, EXPIRED, missing), report_id="2")
    assert [result for *_, result in await events(one)] == [
        "certificate-expired",
        "starttls-not-supported",
    ]
    one.clock.advance(DAY_MS / 1_000 - 1)
    await by_mail(one, policy(HOST, EXPIRED), report_id="3")
    assert len(await events(one)) == 2
    one.clock.advance(1)
    await by_mail(one, policy(HOST, EXPIRED), report_id="4")
    assert [result for *_, result in await events(one)][2:] == ["certificate-expired"]


async def test_what_nobody_signed_counts_for_nothing(one: ReturnDesk) -> None:
    one.sender.proves = proof("evil.example")
    await by_mail(one, policy(HOST, EXPIRED))
    assert (await figures(one), await events(one)) == ([], [])
    (row,) = await kept(one)
    assert row.kind == "tls-report"
    (told,) = logged(one, "tls_report")
    assert "did not sign it" in str(told["passed_over"])


async def test_reports_on_strangers_domains_are_kept_and_not_counted(
    one: ReturnDesk,
) -> None:
    await by_mail(one, policy("customer.com", EXPIRED), policy("x.example", EXPIRED))
    assert (await figures(one), await events(one)) == ([], [])
    assert len(await kept(one)) == 1


async def test_the_operator_s_own_bounce_host_is_its_own(one: ReturnDesk) -> None:
    await by_mail(one, policy("bounce.esp.example", EXPIRED))
    assert await events(one) == [
        (None, "bounce.esp.example", "bounce.esp.example", "certificate-expired")
    ]


async def test_who_has_not_proved_a_domain_is_told_nothing_of_it(
    one: ReturnDesk, writer: Writer
) -> None:
    await writer.transact(lambda at: with_domain(at, RIVAL))
    await by_mail(one, policy(HOST, EXPIRED), report_id="1")
    assert [tenant for tenant, *_ in await events(one)] == [ACME]
    clause = update(sending_domain).values(verified_at=None)
    await writer.transact(lambda at: at.execute(clause).rowcount)
    one.clock.advance(DAY_MS / 1_000)
    await by_mail(one, policy(HOST, EXPIRED), report_id="2")
    assert [tenant for tenant, *_ in await events(one)] == [ACME, None]


async def test_one_reporter_fills_no_table(one: ReturnDesk) -> None:
    for number in range(MAX_OF_REPORTER + 2):
        found = report(policy(HOST), ends_at=one.clock.unix_ms(), report_id=str(number))
        await bring(one, mailed(found), TO, sender="tls@there.example")
    await one.read_all()
    assert await figures(one) == [
        (HOST, "sts", True, MAX_OF_REPORTER, MAX_OF_REPORTER * 5326, 0)
    ]
    one.sender.proves = proof("here.example", author="here.example")
    await by_mail(one, policy(HOST), report_id="of-another")
    assert (await figures(one))[0][3] == MAX_OF_REPORTER + 1


@pytest.mark.parametrize("packed", [True, False])
async def test_what_is_posted_is_shown_and_tells_nobody(
    one: ReturnDesk, door: ReportDoor, packed: bool
) -> None:
    found = report(policy(HOST, EXPIRED), ends_at=one.clock.unix_ms())
    media = MEDIA[0] if packed else MEDIA[1]
    answer = await door.keep(octets(found, packed=packed), media=media, client=CLIENT)
    assert answer.code == 250
    (row,) = await kept(one)
    assert (row.kind, row.door, row.address) == (None, "tls-https", URL)
    await one.read_all()
    (row,) = await kept(one)
    assert (row.kind, row.authentication, row.client) == (
        "tls-report",
        None,
        "192.0.2.7",
    )
    assert await figures(one) == [(HOST, "sts", False, 1, 5326, 3)]
    assert await events(one) == []
    assert one.log.errors == []


async def test_a_proof_takes_the_place_of_a_claim_and_never_the_other_way(
    one: ReturnDesk, door: ReportDoor
) -> None:
    found = report(policy(HOST, EXPIRED), ends_at=one.clock.unix_ms())
    await door.keep(octets(found), media=MEDIA[1], client=CLIENT)
    await one.read_all()
    await by_mail(one, policy(HOST, EXPIRED))
    assert await figures(one) == [(HOST, "sts", True, 1, 5326, 3)]
    await door.keep(octets(found), media=MEDIA[1], client=CLIENT)
    await one.read_all()
    assert await figures(one) == [(HOST, "sts", True, 1, 5326, 3)]
    rows = await one.writer.read(lambda at: at.execute(select(tls_failure)).all())
    assert len(rows) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"policies": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"policies": [',
        b"{}",
        b"\x1f\x8b broken",
        octets(report(policy(), ends_at=1), packed=True)[:40],
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
    ids=["deep", "cut", "empty", "no-gzip", "half-gzip", "long-number"],
)
async def test_what_looks_like_a_report_and_is_none_is_kept_as_unrecognised(
    one: ReturnDesk, door: ReportDoor, body: bytes
) -> None:
    await door.keep(body, media=MEDIA[0], client=CLIENT)
    await one.read_all()
    (row,) = await kept(one)
    assert row.kind == "unrecognised"
    assert await figures(one) == []
    assert one.log.errors == []


async def test_a_bomb_is_unpacked_no_further_than_its_bound(
    one: ReturnDesk, door: ReportDoor
) -> None:
    bomb = gzip.compress(b'{"policies": [' + b" " * (40 << 20))
    assert len(bomb) < limit_of(MEDIA[0])
    await door.keep(bomb, media=MEDIA[0], client=CLIENT)
    await one.read_all()
    (row,) = await kept(one)
    assert row.kind == "unrecognised"
    assert "unpacks to over" in str(row.detail)


@pytest.mark.parametrize("body", [b"", b"hello", b"[1]", b"PK\x03\x04", b"<feedback/>"])
async def test_what_is_no_report_at_a_glance_is_refused(
    one: ReturnDesk, door: ReportDoor, body: bytes
) -> None:
    with pytest.raises(Reject) as refused:
        await door.keep(body, media=MEDIA[1], client=CLIENT)
    assert refused.value.reply == NO_REPORT
    assert await kept(one) == []


async def test_what_was_kept_long_enough_goes(one: ReturnDesk) -> None:
    await by_mail(one, policy(HOST, EXPIRED), report_id="old")
    one.clock.advance(2 * DAY_MS / 1_000)
    await by_mail(one, policy(HOST), report_id="new")
    keep, now = timedelta(days=1), one.clock.unix_ms()
    gone = await sweep_tls_reports(one.writer, keep=keep, now=now)
    assert gone == 3  # the report, its failure, that it was told
    for table, left in ((tls_report, 1), (tls_failure, 0), (tls_told, 0)):
        rows = await one.writer.read(lambda at, t=table: at.execute(select(t)).all())
        assert len(rows) == left
    assert await sweep_tls_reports(one.writer, keep=keep, now=now) == 0


async def test_figures_are_of_the_hosts_and_days_that_are_asked_for(
    one: ReturnDesk,
) -> None:
    await by_mail(one, policy(HOST), policy("bounce.esp.example"))
    now = one.clock.unix_ms()
    found = await one.writer.read(
        lambda at: sessions(at, since=0, hosts=(Domain(HOST),))
    )
    assert [row.host for row in found] == [HOST]
    assert await one.writer.read(lambda at: sessions(at, since=now + 1)) == ()
