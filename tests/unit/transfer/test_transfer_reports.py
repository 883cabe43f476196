"""Reports to senders are made in the unit that settles what they tell of, on both stores."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, update

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId, MessageIds
from soboo_mta.mail.notify import Asked, DsnRequest, Notify
from soboo_mta.mail.outcome import Deferred, Failed, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import Transaction
from soboo_mta.spool.capacity import Capacity
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.departure import Departures
from soboo_mta.transfer.engine import TransferEngine, TransferOptions
from soboo_mta.transfer.planning import Planner
from soboo_mta.transfer.reporting.due import ReportPolicy
from soboo_mta.transfer.reporting.reports import ReportOptions, Reports
from soboo_mta.transfer.routing.finder import ResolveOptions, SiteFinder
from soboo_mta.transfer.routing.orders import Orders
from soboo_mta.transfer.schedule import RetrySchedule
from tests.fakes.clock import FakeClock
from tests.fakes.connector import (
    OK,
    OPERATOR,
    SOURCE,
    FakeConnector,
    FakeIdentities,
    a_message,
    a_signer,
    a_verp_signer,
    an_event_log,
)
from tests.fakes.dns import FakeResolver
from tests.fakes.reports import PAIR, FakeAccounts, FakeOwnDomain

SENDER = "news@customer.example"  # in the tenant's verified domain
REFUSED = Failed(
    reply=reply(550, "5.1.1", "who"), reason=Reason.REPLY, scope=Scope.RECIPIENT
)
LATER = Deferred(
    reply=reply(451, "4.7.1", "busy"), reason=Reason.REPLY, scope=Scope.RECIPIENT
)
LIFE = 5 * 86_400_000


@dataclass
class Post:
    """An engine over a real store, with fakes at its other doors."""

    writer: Writer
    clock: FakeClock
    lease: WorkerLease
    spool: Spool
    engine: TransferEngine
    connector: FakeConnector
    accounts: FakeAccounts
    own_domain: FakeOwnDomain

    async def rows(self, table: Any) -> list[Any]:
        query = select(table).order_by(*table.primary_key.columns)
        return await self.writer.read(lambda at: at.execute(query).all())

    async def until_settled(self, *wanted: str) -> None:
        """Wait until the recipients of message 1 are in these states."""
        query = (
            select(schema.recipient.c.state)
            .where(schema.recipient.c.message_id == 1)
            .order_by(schema.recipient.c.position)
        )
        async with asyncio.timeout(20):
            while await self.writer.read(lambda at: list(at.scalars(query))) != [
                *wanted
            ]:
                await asyncio.sleep(0.01)

    async def send(
        self, message: SpooledMessage, outcome: Outcome, *states: str
    ) -> None:
        """Send what fails, or not, as `outcome` says; reports stay in the spool."""
        is_report = lambda t: t.reverse_path.is_null  # noqa: E731
        self.connector.answer = lambda t: OK if is_report(t) else outcome
        assert await self.spool.accept(message, claim=True)
        self.engine.offer(message, range(len(message.recipients)))
        await self.until_settled(*states)

    async def reports(self) -> list[Any]:
        return [row for row in await self.rows(schema.message) if row.id != 1]

    def keep_reports(self) -> None:
        """Let reports wait, so that they are read before they leave or fail."""
        found = self.own_domain.found
        self.own_domain.found = replace(found, facts=replace(found.facts, usable=()))

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (row.kind, json.loads(row.detail)) for row in await self.rows(schema.event)
        ]


@asynccontextmanager
async def post(
    writer: Writer, clock: FakeClock, policy: ReportPolicy | None = None
) -> AsyncIterator[Post]:
    lease = WorkerLease(  # it outlives hours that the wall clock leaps over
        writer=writer,
        clock=clock,
        store_now=lambda _: int(clock.monotonic() * 1_000),
    )
    await lease.register(host="test", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    connector, accounts, own = FakeConnector(), FakeAccounts(), FakeOwnDomain()
    dns = FakeResolver()
    dns.add("there.example", "A", "9.9.9.1")
    dns.add("customer.example", "A", "9.9.9.2")
    operator = (replace(OPERATOR, keys=accounts.operator_keys), None)
    departures = Departures(
        planner=Planner(
            identities=FakeIdentities(PAIR),
            operator=lambda: operator,
            clock=clock,
            own_domain=own,
        ),
        verp=a_verp_signer(),
        signer=a_signer(),
        lease=lease,
        clock=clock,
    )
    engine = TransferEngine(
        spool=spool,
        ledger=writer,
        lease=lease,
        log=an_event_log(),
        capacity=Capacity(writer=writer, lease=lease),
        departures=departures,
        finder=SiteFinder(resolver=dns, clock=clock, options=ResolveOptions()),
        orders=Orders(),
        connector=connector,
        sources=(SOURCE,),
        clock=clock,
        random=Random(1),
        refusals=Refusals(own_rules(), Doubts(clock)),
        options=TransferOptions(
            claim_every=timedelta(milliseconds=20),
            retry=RetrySchedule(lifetime=timedelta(days=5)),
        ),
        reports=Reports(
            accounts=accounts,
            ids=MessageIds(worker=1, unix_ms=clock.unix_ms),
            clock=clock,
            options=ReportOptions(
                reporting_mta=Domain("mta1.esp.example"),
                domain=OPERATOR.domain,
                policy=policy or ReportPolicy(),
            ),
        ),
    )
    async with asyncio.TaskGroup() as running:
        running.create_task(engine.run())
        await engine.started.wait()
        yield Post(writer, clock, lease, spool, engine, connector, accounts, own)
        await engine.drain(timedelta(seconds=5))


def mail(
    *to: str,
    sender: str = SENDER,
    notify: Sequence[Notify] | None = None,
    content: bytes | None = None,
) -> SpooledMessage:
    now = FakeClock().unix_ms()
    message = replace(
        a_message(1, to=to or ("bob@there.example",)),
        reverse_path=ReversePath(parse_mailbox(sender) if sender else None),
        accepted_at=now,
        expires_at=now + LIFE,
    )
    if notify is None:
        return message
    asked = Asked(notify=frozenset(notify))
    return replace(message, dsn=DsnRequest(asked=(asked,) * len(message.recipients)))


async def test_case_159_a_failure_is_settled_with_its_report_and_event(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        await here.send(mail(), REFUSED, "failed")
        (report,) = await here.reports()
        assert report.reverse_path == ""
        assert report.author == "MAILER-DAEMON@esp.example"
        assert (report.tenant_id, report.domain_id) == ("acme", -7)
        ((kind, detail),) = await here.events()
        assert kind == "report-made"
        assert detail == {
            "report": str(MessageId(report.id)),
            "to": SENDER,
            "recipients": {"bob@there.example": "failed"},
        }


async def test_case_159_the_report_leaves_signed_by_the_operator_with_a_null_path(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        await here.send(mail(), REFUSED, "failed")

        def report() -> Transaction | None:
            sent = here.connector.transactions
            return next((t for t in sent if t.reverse_path.is_null), None)

        await until(lambda: report() is not None)
        sent = report()
        assert [str(to) for to in sent.recipients] == [SENDER]
        assert b"d=esp.example;" in sent.octets[0]
        assert b"\r\nTo: <news@customer.example>\r\n" in sent.octets[1]
        assert b"Diagnostic-Code: smtp; 550 5.1.1 who\r\n" in sent.octets[1]
        assert b"Remote-MTA: dns; there.example\r\n" in sent.octets[1]


async def test_a_report_waits_while_the_operators_key_is_not_published(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        found = here.own_domain.found
        here.own_domain.found = replace(found, facts=replace(found.facts, usable=()))
        await here.send(mail(), REFUSED, "failed")
        (report,) = await here.reports()

        async def states() -> list[Any]:
            rows = await here.rows(schema.recipient)
            return [(r.state, r.reason) for r in rows if r.message_id == report.id]

        async with asyncio.timeout(10):
            while await states() != [("deferred", "domain-broken")]:
                await asyncio.sleep(0.01)
        assert not any(t.reverse_path.is_null for t in here.connector.transactions)


async def test_case_018_103_a_null_reverse_path_is_never_answered(
    writer: Writer, clock: FakeClock
) -> None:
    asked = [Notify.SUCCESS, Notify.FAILURE]
    async with post(writer, clock) as here:
        await here.send(mail(sender="", notify=asked), REFUSED, "failed")
        assert await here.reports() == []
        assert await here.events() == []


async def test_case_103_a_report_that_fails_ends_as_an_event(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        message = replace(
            mail(SENDER, sender=""),
            domain_id=-7,
            author=parse_mailbox("MAILER-DAEMON@esp.example"),
        )
        here.connector.answer = REFUSED
        assert await here.spool.accept(message, claim=True)
        here.engine.offer(message, (0,))
        await here.until_settled("failed")
        assert await here.reports() == []
        ((kind, detail),) = await here.events()
        assert (kind, detail["recipients"]) == ("report-failed", {SENDER: "failed"})


async def test_case_159_recipients_that_fail_together_share_one_report(
    writer: Writer, clock: FakeClock
) -> None:
    everybody = [f"{name}@there.example" for name in "abcde"]
    async with post(writer, clock) as here:
        here.keep_reports()
        await here.send(mail(*everybody), REFUSED, *["failed"] * 5)
        (report,) = await here.reports()
        content = report.content or b""
        assert content.count(b"Final-Recipient:") == 5
        ((_, detail),) = await here.events()
        assert sorted(detail["recipients"]) == everybody


@pytest.mark.parametrize("registered", [None, "ops@elsewhere.example"])
async def test_case_159_a_foreign_reverse_path_gets_nothing(
    writer: Writer, clock: FakeClock, registered: str | None
) -> None:
    async with post(writer, clock) as here:
        if registered:
            here.accounts.account.report_address = parse_mailbox(registered)
        here.keep_reports()
        await here.send(mail(sender="x@victim.example"), REFUSED, "failed")
        to = [r.address for r in await here.rows(schema.recipient) if r.message_id > 1]
        assert to == ([registered] if registered else [])
        ((kind, detail),) = await here.events()
        assert kind == ("report-made" if registered else "report-withheld")
        assert registered or "x@victim.example" in detail["cause"]


async def test_reports_that_a_tenant_or_notify_does_not_want_are_not_made(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        await here.send(mail(notify=[Notify.NEVER]), REFUSED, "failed")
        assert (await here.reports(), await here.events()) == ([], [])
    async with post(writer, clock) as here:
        here.accounts.account.reports = False
        await writer.transact(_forget)
        await here.send(mail(), REFUSED, "failed")
        assert (await here.reports(), await here.events()) == ([], [])


@pytest.mark.parametrize("offers_dsn", [False, True])
async def test_success_is_reported_by_us_only_where_the_next_hop_does_not(
    writer: Writer, clock: FakeClock, *, offers_dsn: bool
) -> None:
    async with post(writer, clock) as here:
        here.connector.offers_dsn = offers_dsn
        await here.send(mail(notify=[Notify.SUCCESS]), OK, "delivered")
        told = [detail["recipients"] for _, detail in await here.events()]
        assert told == ([] if offers_dsn else [{"bob@there.example": "relayed"}])
        (transaction, *_) = here.connector.transactions
        assert transaction.dsn.asked[0].notify == {Notify.SUCCESS}


@pytest.mark.parametrize(
    ("notify", "warns", "told"),
    [
        ([Notify.DELAY], False, 1),
        (None, True, 1),
        (None, False, 0),
        ([Notify.FAILURE], True, 0),
    ],
)
async def test_case_161_a_delay_is_told_once_where_it_is_wanted(
    writer: Writer,
    clock: FakeClock,
    notify: list[Notify] | None,
    *,
    warns: bool,
    told: int,
) -> None:
    policy = ReportPolicy(warn_of_delay=warns, delay_after=timedelta(hours=4))
    async with post(writer, clock, policy) as here:
        await here.send(mail(notify=notify), LATER, "deferred")
        assert await here.reports() == []  # not late yet
        for attempts in (2, 3):
            clock.jump(5 * 3_600)
            here.engine.wake()

            async def was_tried(wanted: int = attempts) -> bool:
                row = (await here.rows(schema.recipient))[0]
                return (row.attempts, row.state) == (wanted, "deferred")

            async with asyncio.timeout(20):
                while not await was_tried():
                    await asyncio.sleep(0.01)
        assert len(await here.reports()) == told
        kinds = [detail["recipients"] for _, detail in await here.events()]
        assert kinds == [{"bob@there.example": "delayed"}] * told


async def test_case_159_an_expiry_is_reported_with_the_last_answer(
    writer: Writer, clock: FakeClock
) -> None:
    async with post(writer, clock) as here:
        late = replace(mail(), expires_at=clock.unix_ms())
        await here.send(late, LATER, "expired")
        (report,) = await here.reports()
        assert b"Status: 4.4.7\r\n" in report.content
        assert b"Diagnostic-Code: smtp; 451 4.7.1 busy\r\n" in report.content


async def test_a_claim_that_was_lost_leaves_neither_settlement_nor_report(
    writer: Writer, clock: FakeClock
) -> None:
    stolen = update(schema.recipient).values(epoch=99)

    async with post(writer, clock) as here:
        here.connector.gate.clear()
        here.connector.answer = REFUSED
        message = mail("a@there.example", "b@there.example")
        assert await here.spool.accept(message, claim=True)
        here.engine.offer(message, (0, 1))
        await here.connector.began.wait()
        await writer.transact(lambda at: at.execute(stolen))
        here.connector.gate.set()
        await here.engine.drain(timedelta(seconds=5))
        assert "failed" not in [row.state for row in await here.rows(schema.recipient)]
        assert await here.reports() == []
        assert await here.events() == []


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def _forget(connection: Any) -> None:
    for table in (schema.event, schema.attempt, schema.recipient, schema.message):
        connection.execute(table.delete())
