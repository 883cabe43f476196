"""Figures: counted by one process, told by another, right after a death."""

import errno
import os
import re
import signal
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, Engine

from soboo_mta.events.tally.standings import (
    Level,
    Standing,
    Subject,
    keep_standing,
)
from soboo_mta.events.tally.standings import Scope as Whose
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.ports import Found, NoData, NoName, RecordType, Unanswered
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.moves.settle import closing
from soboo_mta.spool.operator.moves import hold
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.store.writer import Writer
from soboo_mta.submission import replies
from soboo_mta.web.metrics import names
from soboo_mta.web.metrics.board import Board
from soboo_mta.web.metrics.busiest import Busiest
from soboo_mta.web.metrics.counting import CountingLog, CountingResolver, Meter
from soboo_mta.web.metrics.exposition import Exposition
from soboo_mta.web.metrics.figures import StoreFigures
from tests.fakes.clock import FakeClock
from tests.fakes.connector import a_message

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
Numbers = dict[tuple[str, ...], float]


class Silent:
    def info(self, event: str, **facts: object) -> None: ...

    def warning(self, event: str, **facts: object) -> None: ...

    def error(self, event: str, **facts: object) -> None: ...


async def told(
    writer: Writer,
    clock: FakeClock,
    boards: Mapping[str, Board],
    *,
    most: int = 50,
) -> Numbers:
    exposition = Exposition(
        boards=boards,
        store=StoreFigures(writer, clock),
        clock=clock,
        tenants=most,
        next_hops=most,
    )
    return read(await exposition.page())


def read(page: bytes) -> Numbers:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_what_happens_is_counted(writer: Writer, clock: FakeClock) -> None:
    board = Board()
    meter = Meter(board)
    log = CountingLog(meter, clock, Silent())
    message = a_message(1, to=("a@x.example", "b@x.example"))
    took = reply(250, "2.0.0", "ok")
    log.accepted(message)
    host = "mx.x.example[192.0.2.1]:25"
    for outcome in (
        Delivered(reply=took),
        Deferred(reply=took, reason=Reason.TIMEOUT, scope=Scope.HOST),
        Failed(reply=took, reason=Reason.REPLY, scope=Scope.RECIPIENT),
        Failed(reply=took, reason=Reason.LIFETIME, scope=Scope.RECIPIENT),
    ):
        log.settled(message, 0, outcome, host=host)
    broken = Held(reason=Reason.DOMAIN_BROKEN, explanation="mend it")
    log.settled(message, 1, broken, host="")
    log.refused(replies.QUOTA, client="192.0.2.9", tenant=None)
    log.login_failed(client="192.0.2.9", user_name="x", cause=NoLogin.NETWORK)
    log.lease_lost(1, 2)
    log.store_trouble("gone")
    log.internal_error(stage="x", error=ValueError())
    meter.commit.observe(0.003)
    meter.report(clock)
    numbers = await told(writer, clock, {"worker 1": board})
    assert numbers["soboo_accepted_messages_total",] == 1
    assert numbers["soboo_accepted_recipients_total", "acme"] == 2
    assert numbers["soboo_accepted_octets_total",] == message.size
    outcomes = {
        key[1:]: n for key, n in numbers.items() if key[0] == names.SETTLED.name
    }
    assert outcomes == {
        ("delivered", "reply"): 1,
        ("deferred", "timeout"): 1,
        ("failed", "reply"): 1,
        ("expired", "lifetime"): 1,
        ("held", "domain-broken"): 1,
    }
    assert numbers["soboo_host_settled_recipients_total", "mx.x.example", "failed"] == 1
    assert numbers["soboo_tenant_settled_recipients_total", "held", "acme"] == 1
    assert numbers["soboo_refused_messages_total", "451 4.7.1"] == 1
    for name in (
        "quota_refusals",
        "failed_logins",
        "lease_losses",
        "store_troubles",
        "internal_errors",
    ):
        assert numbers[f"soboo_{name}_total",] == 1, name
    assert numbers["soboo_commit_seconds_bucket", "0.002"] == 0
    assert numbers["soboo_commit_seconds_bucket", "0.005"] == 1
    assert numbers["soboo_commit_seconds_bucket", "+Inf"] == 1
    assert numbers["soboo_commit_seconds_sum",] == pytest.approx(0.003)
    assert numbers["soboo_process_resident_bytes", "worker 1"] > 1 << 20


async def test_look_ups_are_counted_by_result(writer: Writer, clock: FakeClock) -> None:
    answers = [
        Found(records=(ip_address("192.0.2.1"),), chain=(), ttl=1),
        NoData(chain=(), ttl=1),
        NoName(chain=(), ttl=1),
        Unanswered(cause="time-out"),
        Unanswered(cause="time-out"),
    ]

    class Answering:
        async def lookup(
            self, name: str, kind: RecordType, *, fresh: bool = False
        ) -> Found | NoData | NoName | Unanswered:
            return answers[int(name)]

    board = Board()
    resolver = CountingResolver(Answering(), Meter(board))
    for number, answer in enumerate(answers):
        assert await resolver.lookup(str(number), RecordType.A) is answer
    numbers = await told(writer, clock, {"one": board})
    assert {
        key[1]: n for key, n in numbers.items() if key[0] == names.LOOKUPS.name
    } == {"found": 1, "no-data": 1, "no-name": 1, "unanswered": 2}


async def test_a_killed_process_counts_stay_and_its_successor_counts_on(
    writer: Writer, clock: FakeClock
) -> None:
    board, other = Board(), Board()
    counted_by_a_child(board, clock, connections=7)
    Meter(other).count(names.ACCEPTED, by=5)
    numbers = await told(writer, clock, {"worker 1": board, "worker 2": other})
    assert numbers["soboo_accepted_messages_total",] == 8
    assert numbers["soboo_connections", "smtp"] == 7
    clock.advance(6)  # it said nothing since: what was of the moment is no more
    numbers = await told(writer, clock, {"worker 1": board, "worker 2": other})
    assert numbers["soboo_accepted_messages_total",] == 8
    assert ("soboo_connections", "smtp") not in numbers
    assert ("soboo_process_resident_bytes", "worker 1") not in numbers
    counted_by_a_child(board, clock, connections=None)
    numbers = await told(writer, clock, {"worker 1": board, "worker 2": other})
    assert numbers["soboo_accepted_messages_total",] == 11
    assert numbers["soboo_connections", "smtp"] == 0


def counted_by_a_child(board: Board, clock: FakeClock, connections: int | None) -> None:
    """Three messages, in a process that is killed."""
    child = os.fork()
    if child == 0:
        meter = Meter(board)
        meter.count(names.ACCEPTED, by=3)
        if connections is not None:
            meter.put(names.CONNECTIONS, connections, "smtp")
        meter.report(clock)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


async def test_a_board_is_bounded_and_says_so(writer: Writer, clock: FakeClock) -> None:
    board = Board()
    meter = Meter(board)
    for number in range(20_000):
        meter.count(names.REFUSED, str(number))
    numbers = await told(writer, clock, {"one": board})
    kept = [key for key in numbers if key[0] == names.REFUSED.name]
    assert len(kept) + numbers["soboo_uncounted_total",] == 20_000
    assert len(kept) > 8_000


async def test_tenants_over_the_bound_are_one(writer: Writer, clock: FakeClock) -> None:
    boards = {"one": Board(), "two": Board()}
    meters = [Meter(board) for board in boards.values()]
    for number in range(2_000):
        for meter in meters:
            meter.count(names.ACCEPTED_RECIPIENTS, f"t{number}", by=2_000 - number)
    numbers = await told(writer, clock, boards, most=3)
    by_tenant = {
        key[1]: n
        for key, n in numbers.items()
        if key[0] == "soboo_accepted_recipients_total"
    }
    assert set(by_tenant) == {"t0", "t1", "t2", "other"}
    assert by_tenant["t0"] == 4_000
    assert sum(by_tenant.values()) == 2 * sum(range(2_001))


_STEPS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50)), max_size=12
)


@given(_STEPS, st.integers(1, 3))
def test_no_series_that_is_told_goes_back(
    steps: list[dict[str, int]], most: int
) -> None:
    busiest = Busiest(most)
    counted = dict.fromkeys((("n", (one,)) for one in "abcdef"), 0.0)
    before: dict[tuple[str, tuple[str, ...]], float] = {}
    for step in steps:
        for value, more in step.items():
            counted["n", (value,)] += more
        now = busiest.told(counted)
        assert len(now) <= most + 1
        assert all(now[place] >= before[place] for place in now if place in before)
        before = now


def test_a_tenant_that_grows_busy_takes_a_place() -> None:
    busiest = Busiest(1)
    assert busiest.told({("n", ("a",)): 5, ("n", ("b",)): 3}) == {
        ("n", ("a",)): 5,
        ("n", ("other",)): 3,
    }
    grown: dict[tuple[str, tuple[str, ...]], float] = {
        ("n", ("a",)): 5,
        ("n", ("b",)): 11,
    }
    assert busiest.told(grown) == {("n", ("b",)): 8, ("n", ("other",)): 3}


async def test_what_waits_is_told_from_the_store(
    engine: Engine, writer: Writer, clock: FakeClock
) -> None:
    lease = WorkerLease(writer=writer, clock=clock)
    await lease.register(host="here", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    made = MessageId(((clock.unix_ms() - 1_735_689_600_000) << 22) + 1)
    clock.advance(90)
    await spool.accept(a_message(made), claim=False)
    await spool.accept(a_message(MessageId(made + 1), to=("a@x.example",)), claim=False)
    await writer.transact(
        lambda at: hold(at, Selection(message_id=MessageId(made + 1)), "by hand")
    )
    gate = closing(
        "domain", str(DomainId(9)), reason=Reason.DOMAIN_BROKEN, explanation="", since=0
    )
    await writer.commit([gate])
    numbers = await told(writer, clock, {})
    assert numbers["soboo_queue_recipients", "queued"] == 1
    assert numbers["soboo_queue_recipients", "held"] == 1
    assert numbers["soboo_queue_recipients", "active"] == 0
    assert numbers["soboo_queue_oldest_seconds", "queued"] == 90
    assert numbers["soboo_queue_oldest_seconds", "deferred"] == 0
    assert numbers["soboo_closed_gates", "domain-broken"] == 1
    assert numbers["soboo_workers",] >= 0
    assert numbers["soboo_store_up",] == 1


async def test_who_is_complained_of_is_counted_by_level(
    writer: Writer, clock: FakeClock
) -> None:
    def complain(connection: Connection) -> None:
        for name, level in (("a", Level.HOLD), ("b", Level.WARN), ("c", Level.WARN)):
            one = Standing(
                subject=Subject(scope=Whose.TENANT, name=name),
                level=level,
                complaints=10,
                delivered=10,
                since=1,
            )
            keep_standing(connection, one, now=1)

    await writer.transact(complain)
    numbers = await told(writer, clock, {})
    levels = {
        level: numbers["soboo_complaint_levels", level]
        for level in ("warn", "slow", "hold")
    }
    assert levels == {"warn": 2, "slow": 0, "hold": 1}


async def test_without_a_store_the_last_figures_are_told_as_old(
    engine: Engine, writer: Writer, clock: FakeClock
) -> None:
    figures = StoreFigures(writer, clock)
    exposition = Exposition(
        boards={"one": Board()}, store=figures, clock=clock, tenants=1, next_hops=1
    )
    assert read(await exposition.page())["soboo_store_up",] == 1
    await writer.close()
    assert read(await exposition.page())["soboo_store_up",] == 1  # within seconds
    clock.advance(11)
    engine.dispose()
    broken = StoreFigures(Writer(engine), clock)  # never started: it answers nobody
    exposition = Exposition(
        boards={}, store=broken, clock=clock, tenants=1, next_hops=1
    )
    assert read(await exposition.page())["soboo_store_up",] == 0


def test_a_tenants_id_fits_a_label_and_a_host_is_cut() -> None:
    board = Board()
    Meter(board).count(names.TENANT_SETTLED, TenantId("t" * 63), "delivered")
    Meter(board).count(names.HOST_SETTLED, "h" * 250, "delivered")
    labels = [labels for name, labels, _ in board.series() if labels[1:]]
    assert [len(one) for one in labels] == [2, 2]
    assert {one[1] for one in labels} == {"delivered"}


def test_the_operators_page_lists_every_metric_and_none_else() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = set(re.findall(r"(?m)^\| `(soboo_\w+)`", text))
    assert listed == set(names.BY_NAME)
    named = set(re.findall(r"soboo_\w+", text))
    plain = {re.sub(r"_(bucket|sum|count)$", "", one) for one in named}
    assert plain <= set(names.BY_NAME)


def test_case_128_without_descriptors_a_worker_still_reports_that_it_lives(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    meter = Meter(board)
    meter.report(clock)
    before = {name: number for name, _, number in board.series()}
    clock.advance(60)

    def exhausted(*_: object, **__: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", exhausted)
        patch.setattr("os.listdir", exhausted)
        meter.report(clock)
    after = {name: number for name, _, number in board.series()}
    assert board.alive_at() == clock.monotonic()
    assert after[names.RESIDENT.name] == before[names.RESIDENT.name] > 0
