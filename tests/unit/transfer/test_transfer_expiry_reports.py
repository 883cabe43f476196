"""What expires behind a gate is reported in the transaction that ends it, on both stores."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.event import listen

from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import SWEEPER_NUMBER, MessageId, MessageIds
from soboo_mta.mail.notify import Asked, DsnRequest, Notify
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.moves.rounds import sweep_for
from soboo_mta.spool.moves.sweep import Overdue
from soboo_mta.spool.spool import Spool, SpoolOptions
from soboo_mta.store import schema
from soboo_mta.store.unit import Statement, StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.transfer.reporting.reports import ReportOptions, Reports
from tests.fakes.clock import FakeClock
from tests.fakes.connector import OPERATOR, a_message
from tests.fakes.reports import FakeAccounts

WHY = "no usable DKIM key; mend sb1._domainkey.customer.example CNAME sb1.t0.k.esp.example."
LATE = FakeClock().unix_ms() - 1


def late(
    number: int, *to: str, sender: str = "news@customer.example"
) -> SpooledMessage:
    return replace(
        a_message(number, to=to or ("bob@there.example",), expires_at=LATE),
        reverse_path=ReversePath(parse_mailbox(sender) if sender else None),
    )


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock) -> Spool:
    lease = WorkerLease(writer=writer, clock=clock, store_now=lambda _: clock.unix_ms())
    await lease.register(host="test", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    await spool.close_gate("domain", "7", Reason.DOMAIN_BROKEN, WHY)
    return spool


@pytest.fixture
def reports(clock: FakeClock) -> Reports:
    return Reports(
        accounts=FakeAccounts(),
        ids=MessageIds(worker=SWEEPER_NUMBER, unix_ms=clock.unix_ms),
        clock=clock,
        options=ReportOptions(
            reporting_mta=Domain("mta1.esp.example"), domain=OPERATOR.domain
        ),
    )


async def rows(writer: Writer, table: Any) -> list[Any]:
    query = select(table).order_by(*table.primary_key.columns)
    return await writer.read(lambda at: at.execute(query).all())


async def sweep(writer: Writer, clock: FakeClock, told: object) -> int:
    return await sweep_for(writer, SpoolOptions(), now=clock.unix_ms(), reports=told)


async def test_case_159_what_expires_behind_a_gate_is_told_which_record_to_mend(
    spool: Spool, writer: Writer, clock: FakeClock, reports: Reports
) -> None:
    await spool.accept(late(1, "a@there.example", "b@there.example"), claim=False)
    assert await sweep(writer, clock, reports) == 2
    states = [(r.state, r.domain_id) for r in await rows(writer, schema.recipient)]
    assert states == [("expired", 7), ("expired", 7), ("queued", -7)]
    (report,) = [m for m in await rows(writer, schema.message) if m.id != 1]
    assert report.content.count(b"Final-Recipient:") == 2
    assert f"Diagnostic-Code: x-soboo; 451 4.7.5 {WHY}\r\n".encode() in report.content
    assert b"Status: 4.4.7\r\n" in report.content
    (event,) = await rows(writer, schema.event)
    assert event.kind == "report-made"
    assert json.loads(event.detail)["report"] == str(MessageId(report.id))
    assert await sweep(writer, clock, reports) == 0


async def test_case_103_reports_and_null_paths_that_expire_bring_no_report(
    spool: Spool, writer: Writer, clock: FakeClock, reports: Reports
) -> None:
    await spool.close_gate("domain", "-7", Reason.DOMAIN_BROKEN, WHY)
    own = replace(late(2, sender=""), domain_id=-7)
    never = Asked(notify=frozenset({Notify.NEVER}))
    silent = replace(late(3), dsn=DsnRequest(asked=(never,)))
    for message in (late(1, sender=""), own, silent):
        await spool.accept(message, claim=False)
    assert await sweep(writer, clock, reports) == 3
    assert len(await rows(writer, schema.message)) == 3
    assert [e.kind for e in await rows(writer, schema.event)] == ["report-failed"]


class ClaimsMeanwhile:
    """Makes reports; a worker claims a recipient of message 1 just then."""

    def __init__(self, reports: Reports, writer: Writer) -> None:
        self.reports, self.writer = reports, writer

    async def of_expired(
        self, message: SpooledMessage, late: Sequence[Overdue]
    ) -> list[Statement]:
        claimed = (
            update(schema.recipient)
            .where(schema.recipient.c.message_id == 1, schema.recipient.c.position == 0)
            .values(state="active")
        )
        await self.writer.transact(lambda at: at.execute(claimed))
        return await self.reports.of_expired(message, late)


async def test_a_message_claimed_meanwhile_is_neither_ended_nor_reported(
    spool: Spool, writer: Writer, clock: FakeClock, reports: Reports
) -> None:
    await spool.accept(late(1, "a@there.example", "b@there.example"), claim=False)
    await spool.accept(late(2), claim=False)
    assert await sweep(writer, clock, ClaimsMeanwhile(reports, writer)) >= 1
    ended = [
        (r.message_id, r.state)
        for r in await rows(writer, schema.recipient)
        if r.domain_id == 7
    ]
    # b@there.example alone is looked at again, and ended with a report of its own.
    assert ended == [(1, "active"), (1, "expired"), (2, "expired")]
    told = [
        json.loads(e.detail)["recipients"] for e in await rows(writer, schema.event)
    ]
    assert sorted(told, key=str) == [
        {"b@there.example": "failed"},
        {"bob@there.example": "failed"},
    ]


class Breaks:
    async def of_expired(
        self, message: SpooledMessage, late: Sequence[Overdue]
    ) -> list[Statement]:
        clause = schema.message.insert()
        return [Statement(clause, ({"id": int(message.message_id)},))]  # no such row


async def test_where_the_report_cannot_be_kept_nothing_ends(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await spool.accept(late(1), claim=False)
    with pytest.raises(StoreError):
        await sweep(writer, clock, Breaks())
    (row,) = await rows(writer, schema.recipient)
    assert row.state == "queued"
    count = select(func.count()).select_from(schema.attempt)
    assert await writer.read(lambda at: at.scalar(count)) == 0


async def test_many_expiries_are_reported_in_transactions_of_half_a_megabyte(
    spool: Spool, writer: Writer, clock: FakeClock, reports: Reports
) -> None:
    header = b"From: ann@customer.example\r\n" + b"".join(
        b"X-%d: %s\r\n" % (number, b"x" * 900) for number in range(60)
    )
    for number in range(1, 31):
        message = replace(late(number), content=header + b"\r\nHello\r\n")
        await spool.accept(message, claim=False)
    ends = []
    listen(writer.engine, "commit", ends.append)
    assert await sweep(writer, clock, reports) == 30
    assert len(ends) >= 30 * 40_000 // 524_288 + 1
    made = [m for m in await rows(writer, schema.message) if m.reverse_path == ""]
    assert len(made) == 30
    assert all(40_000 < m.size < 55_000 for m in made)
