"""Events out: delivered in order to a real receiver that misbehaves, and to sinks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import Connection, insert, select, update

from soboo_mta.daemon.outlets import courier as courier_module
from soboo_mta.daemon.outlets import feeding
from soboo_mta.daemon.outlets.courier import Courier, CourierOptions
from soboo_mta.daemon.outlets.feeding import Feeder, Tail
from soboo_mta.daemon.outlets.secrets import new_secret, opened
from soboo_mta.daemon.outlets.verdict import Retries, judge
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import the_cursor
from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.events.outbox.journal import (
    KEPT_OF_A_WEBHOOK,
    Delivery,
    last_deliveries,
    log_deliveries,
    overlong_logs,
    shorten_log,
)
from soboo_mta.events.outbox.queue import Again, Done, Waiting
from soboo_mta.events.outbox.webhooks import (
    Webhook,
    add_webhook,
    sealed_secrets,
    the_webhook,
)
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.outlets.webhook import (
    NotPosted,
    Posted,
    WebhookDoor,
    WebhookOptions,
)
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.secrets import SecretError
from tests.fakes.dns import FakeResolver
from tests.fakes.happenings import LATER, OK, happened, tried, with_message
from tests.fakes.receiver import HANG, Got, Receiver, answer, verified
from tests.fakes.receiver import OK as ACCEPTED
from tests.fakes.tenancy import ACME, MASTER, RIVAL, with_tenants

HOST = "hook.customer.example"
_DAY = 86_400_000

# ---- verdicts


def _waiting(attempts: int = 0, queued_at: int = 0) -> Waiting:
    return Waiting(
        row_id=1,
        webhook=1,
        lane="m1",
        event_id="evt_1",
        type="delivered",
        body="{}",
        queued_at=queued_at,
        attempts=attempts,
    )


def _verdict(said: Posted | NotPosted, now: int = 0, attempts: int = 0, **more: float):
    return judge(
        said, _waiting(attempts), Retries(), now=now, chance=more.get("chance", 0.0)
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_accepted(status: int) -> None:
    assert _verdict(Posted(status)).end == Done(waiting=_waiting(), is_dropped=False)


@pytest.mark.parametrize("status", [100, 301, 304, 307, 400, 401, 404, 429, 500, 503])
def test_all_else_is_tried_again(status: int) -> None:
    assert _verdict(Posted(status)).end == Again(waiting=_waiting(), due_at=5_000)
    assert isinstance(_verdict(NotPosted("closed")).end, Again)


def test_waits_grow_to_a_day_with_jitter_and_end_after_three_days() -> None:
    waits = [
        _verdict(Posted(500), attempts=n).end.due_at  # type: ignore[union-attr]
        for n in range(12)
    ]
    assert waits == sorted(waits)
    assert waits[:2] == [5_000, 30_000]
    assert waits[-1] == _DAY
    assert _verdict(Posted(500), chance=0.999).end.due_at == 5_999  # type: ignore[union-attr]
    last = _verdict(Posted(500), now=3 * _DAY - 1_000, attempts=9)
    assert last.end == Again(waiting=_waiting(9), due_at=3 * _DAY)
    over = _verdict(Posted(500), now=3 * _DAY, attempts=10)
    assert over.end == Done(waiting=_waiting(10), is_dropped=True)


def test_retry_after_is_kept_by_the_whole_webhook_up_to_a_day() -> None:
    minute = _verdict(Posted(429, retry_after=timedelta(minutes=1)))
    assert minute.end == Again(waiting=_waiting(), due_at=60_000)
    assert minute.rest == timedelta(minutes=1)
    long = _verdict(Posted(503, retry_after=timedelta(days=90)))
    assert long.rest == timedelta(days=1)
    short = _verdict(Posted(503, retry_after=timedelta(seconds=1)))
    assert short.end == Again(waiting=_waiting(), due_at=5_000)


def test_410_ends_the_webhook() -> None:
    verdict = _verdict(Posted(410))
    assert verdict.is_gone
    assert verdict.end == Done(waiting=_waiting(), is_dropped=True)


# ---- the courier


@dataclass
class Place:
    writer: Writer
    receiver: Receiver
    options: CourierOptions = field(default_factory=CourierOptions)
    ports: list[int] = field(default_factory=list)
    timeout: timedelta = timedelta(seconds=10)
    dns: FakeResolver = field(default_factory=FakeResolver)
    secrets: dict[int, str] = field(default_factory=dict)

    async def hook(
        self, path: str = "/", tenant: TenantId = ACME, port: int | None = None
    ) -> int:
        """A webhook at the receiver; its number."""
        url = f"https://{HOST}:{port or self.receiver.port}{path}"
        made: list[str] = []

        def write(at: Connection) -> int:
            number = add_webhook(at, tenant=tenant, url=url, types=(), now=0).number
            made.append(new_secret(at, MASTER, number, old_until=0).reveal())
            return number

        number = await self.writer.transact(write)
        self.secrets[number] = made[0]
        return number

    async def do(self, *steps: Callable[[Connection], object]) -> None:
        def all_of_them(at: Connection) -> None:
            for step in steps:
                step(at)

        await self.writer.transact(all_of_them)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Courier]:
        courier = Courier(
            writer=self.writer,
            master=MASTER,
            clock=SystemClock(),
            random=Random(1),
            door=self._door,
            options=self.options,
        )
        feeder = Feeder(
            writer=self.writer, clock=SystemClock(), most=9_999, fed=courier.wake
        )
        tasks = [asyncio.create_task(one.run()) for one in (courier, feeder)]
        try:
            yield courier
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)

    async def waiting(self) -> int:
        query = select(schema.outbox.c.id)
        return len(await self.writer.read(lambda at: at.execute(query).all()))

    async def until_disabled(self, number: int) -> Webhook:
        async with asyncio.timeout(20):
            while True:
                one = await self.writer.read(lambda at: the_webhook(at, number))
                if one.disabled_at is not None:
                    return one
                await asyncio.sleep(0.02)

    async def until_empty(self) -> None:
        async with asyncio.timeout(20):
            while await self.waiting():
                await asyncio.sleep(0.02)

    def _door(self, url: str) -> WebhookDoor:
        options = WebhookOptions(
            ports=(self.receiver.port, *self.ports),
            private_destinations=True,
            timeout=self.timeout,
        )
        return WebhookDoor(
            url,
            resolver=self.dns,
            clock=SystemClock(),
            options=options,
            tls=self.receiver.trusted(),
        )


@pytest.fixture
async def place(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    monkeypatch.setattr(courier_module, "_LOOK", 0.02)
    monkeypatch.setattr(courier_module, "_GROUP", 0.005)
    monkeypatch.setattr(feeding, "_POLL", 0.02)
    await writer.transact(with_tenants)
    receiver = Receiver()
    async with receiver.open(HOST):
        made = Place(writer, receiver)
        made.dns.add(HOST, "A", "127.0.0.1")
        yield made


def _quick(**more: object) -> CourierOptions:
    steps = (timedelta(milliseconds=30),)
    return CourierOptions(retries=Retries(steps=steps), **more)  # type: ignore[arg-type]


def _story(message: int) -> list[Callable[[Connection], object]]:
    """Two delays and a delivery of one message."""
    return [
        lambda at: with_message(at, message),
        lambda at: tried(at, message, LATER, 2_000),
        lambda at: tried(at, message, LATER, 3_000),
        lambda at: tried(at, message, OK, 4_000),
    ]


def _types_by_message(got: Sequence[Got]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in got:
        found.setdefault(one.event["message"], []).append(one.event["at"])
    return found


async def test_case_089_events_arrive_signed_once_and_in_order_of_each_message(
    place: Place,
) -> None:
    number = await place.hook()
    for message in range(1, 31):
        await place.do(*_story(message))
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 90)
        await place.until_empty()
    assert len(place.receiver.got) == 90
    assert all(verified(one, place.secrets[number]) for one in place.receiver.got)
    for times in _types_by_message(place.receiver.accepted).values():
        assert times == sorted(times)
        assert len(times) == 3
    ids = [one.fields["webhook-id"] for one in place.receiver.got]
    assert ids == [one.event["id"] for one in place.receiver.got]


async def test_where_one_event_fails_its_message_waits_and_others_go_on(
    place: Place,
) -> None:
    """Every first attempt of every third message's events fails, in several ways."""
    place.options = _quick()
    place.timeout = timedelta(seconds=0.3)
    await place.hook()
    seen: set[str] = set()
    ways = iter([answer(500), None, HANG, answer(302, location="/x"), answer(503)] * 9)

    def behave(got: Got) -> bytes | None:
        event = got.event
        if int(event["message_id"][1]) % 3 or event["id"] in seen:
            return ACCEPTED
        seen.add(event["id"])
        return next(ways)

    place.receiver.behave = behave
    for message in range(1, 10):
        await place.do(*_story(message))
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 27)
        await place.until_empty()
    for times in _types_by_message(place.receiver.accepted).values():
        assert times == sorted(times)
        assert len(times) == 3
    assert len(place.receiver.got) == 27 + len(seen)


async def test_case_089_a_retry_has_the_same_id_and_body(place: Place) -> None:
    place.options = _quick()
    await place.hook()
    answers = iter([answer(500), ACCEPTED])
    place.receiver.behave = lambda _: next(answers)
    await place.do(lambda at: with_message(at, 1), lambda at: tried(at, 1, OK, 2_000))
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 1)
        await place.until_empty()
    first, second = place.receiver.got
    assert first.body == second.body
    assert first.fields["webhook-id"] == second.fields["webhook-id"]
    log = await place.writer.read(lambda at: last_deliveries(at, 1, limit=9))
    assert [(one.attempt, one.status) for one in log] == [(2, 204), (1, 500)]


async def test_what_was_under_way_at_the_end_is_delivered_by_the_next_run(
    place: Place,
) -> None:
    await place.hook()
    place.receiver.behave = lambda _: HANG
    await place.do(*_story(1))
    async with place.running():
        await place.until(lambda: len(place.receiver.got) == 1)
    place.receiver.behave = lambda _: ACCEPTED
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 3)
    ids = [one.fields["webhook-id"] for one in place.receiver.got]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


async def test_case_088_a_webhook_that_hangs_takes_its_own_places_alone(
    place: Place,
) -> None:
    place.options = CourierOptions(parallel=8, parallel_per_webhook=4)
    await place.hook("/hangs")
    await place.hook("/works", RIVAL)
    place.receiver.behave = lambda got: HANG if got.path == "/hangs" else ACCEPTED
    for message in range(1, 31):
        tenant = ACME if message % 2 else RIVAL
        await place.do(
            lambda at, m=message, t=tenant: with_message(at, m, t),
            lambda at, m=message: tried(at, m, OK, 2_000),
        )
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 15)
        hanging = [one for one in place.receiver.got if one.path == "/hangs"]
        assert len(hanging) == 4
    assert place.receiver.most_at_once <= 8


async def test_places_are_shared_evenly_however_many_wait(place: Place) -> None:
    """All of them are slow; who came first does not keep the places."""
    place.options = CourierOptions(parallel=6, parallel_per_webhook=6)
    for number in range(3):
        await place.hook(f"/{number}")
    place.receiver.delay = 0.05
    for message in range(1, 61):
        await place.do(*_story(message)[:2])
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) >= 90)
        counts = [
            sum(one.path == f"/{number}" for one in place.receiver.accepted[:90])
            for number in range(3)
        ]
    assert min(counts) >= 20


async def test_a_webhook_whose_secret_does_not_open_keeps_no_other_back(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = await place.hook("/broken")
    await place.hook("/works")
    secret = schema.webhook_secret
    await place.do(
        lambda at: at.execute(
            update(secret)
            .where(secret.c.webhook_id == broken)
            .values(sealed=b"\x01 damaged")
        ),
        *_story(1),
    )
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 3)
        await asyncio.sleep(0.2)
    assert {one.path for one in place.receiver.got} == {"/works"}
    assert capsys.readouterr().out.count("webhook_secret_unreadable") == 1


async def test_a_webhook_that_fails_is_tried_one_at_a_time_until_it_accepts(
    place: Place,
) -> None:
    place.options = _quick(parallel_per_webhook=5)
    await place.hook()
    place.receiver.delay = 0.02
    place.receiver.behave = lambda _: answer(500)
    for message in range(1, 21):
        await place.do(*_story(message)[:2])
    async with place.running():
        await place.until(lambda: len(place.receiver.got) >= 20)
        place.receiver.most_at_once = 0
        seen = len(place.receiver.got)
        await place.until(lambda: len(place.receiver.got) >= seen + 5)
        assert place.receiver.most_at_once == 1
        place.receiver.behave = lambda _: ACCEPTED
        await place.until(lambda: len(place.receiver.accepted) == 20)
        assert place.receiver.most_at_once > 1


async def test_retry_after_lets_the_whole_webhook_rest(place: Place) -> None:
    place.options = _quick(parallel_per_webhook=1)
    await place.hook()
    place.receiver.behave = lambda _: answer(429, retry_after="1")
    for message in (1, 2, 3):
        await place.do(*_story(message)[:2])
    async with place.running():
        await place.until(lambda: len(place.receiver.got) == 1)
        await asyncio.sleep(0.4)
        assert len(place.receiver.got) == 1
        place.receiver.behave = lambda _: ACCEPTED
        await place.until(lambda: len(place.receiver.accepted) == 3)


async def test_case_088_one_that_says_it_is_gone_is_disabled_with_an_event_and_a_row(
    place: Place,
) -> None:
    number = await place.hook()
    place.receiver.behave = lambda _: answer(410, b"moved on")
    await place.do(*_story(1))
    async with place.running():
        one = await place.until_disabled(number)
    assert one.disabled_because == "it answered 410: it is gone"
    assert one.dropped == 3
    kinds = await place.writer.read(
        lambda at: list(at.scalars(select(schema.event.c.kind)))
    )
    assert kinds == ["webhook-disabled"]
    assert len(place.receiver.got) == 1


async def test_case_088_one_that_fails_for_days_is_disabled_and_says_why(
    place: Place,
) -> None:
    place.options = _quick(disable_after=timedelta(days=3))
    number = await place.hook()
    place.receiver.behave = lambda _: answer(500, b"no such table")
    ago = SystemClock().unix_ms() - 3 * _DAY
    await place.do(
        lambda at: at.execute(update(schema.webhook).values(failing_since=ago)),
        *_story(1),
    )
    async with place.running():
        one = await place.until_disabled(number)
    assert one.disabled_because == (
        "nothing was accepted for 3 days; the last answer: 500 no such table"
    )


async def test_one_that_is_disabled_by_hand_hears_no_more(place: Place) -> None:
    place.options = CourierOptions(parallel_per_webhook=1)
    await place.hook()
    place.receiver.delay = 0.2
    for message in range(1, 10):
        await place.do(*_story(message)[:2])
    async with place.running():
        await place.until(lambda: len(place.receiver.got) == 1)
        await place.do(
            lambda at: at.execute(
                update(schema.webhook).values(disabled_at=1, disabled_because="x")
            ),
            lambda at: at.execute(schema.outbox.delete()),
        )
        await asyncio.sleep(0.6)
    assert len(place.receiver.got) <= 2


async def test_during_a_rotation_both_secrets_sign(place: Place) -> None:
    number = await place.hook()
    until = SystemClock().unix_ms() + _DAY
    made: list[str] = []
    await place.do(
        lambda at: made.append(
            new_secret(at, MASTER, number, old_until=until).reveal()
        ),
        *_story(1)[:2],
    )
    async with place.running():
        await place.until(lambda: len(place.receiver.accepted) == 1)
    (got,) = place.receiver.got
    assert len(got.fields["webhook-signature"].split(" ")) == 2
    assert verified(got, place.secrets[number])
    assert verified(got, made[0])


async def test_a_secret_of_another_webhook_does_not_open(place: Place) -> None:
    one, two = await place.hook(), await place.hook()
    await place.do(
        lambda at: at.execute(
            schema.webhook_secret.delete().where(
                schema.webhook_secret.c.webhook_id == two
            )
        ),
        lambda at: at.execute(update(schema.webhook_secret).values(webhook_id=two)),
    )
    sealed = await place.writer.read(lambda at: sealed_secrets(at, two, now=1))
    assert sealed
    assert one != two
    with pytest.raises(SecretError):
        opened(MASTER, two, sealed)


async def test_the_delivery_log_is_bounded(writer: Writer) -> None:
    def fill(at: Connection) -> None:
        with_tenants(at)
        add_webhook(at, tenant=ACME, url="https://a.example/", types=(), now=0)
        log_deliveries(at, [_delivery(n) for n in range(KEPT_OF_A_WEBHOOK + 5)])

    await writer.transact(fill)
    assert await writer.read(overlong_logs) == (1,)
    assert await writer.transact(lambda at: shorten_log(at, 1)) == 5
    assert await writer.read(overlong_logs) == ()
    kept = await writer.read(lambda at: last_deliveries(at, 1, limit=9_999))
    assert [kept[0].event_id, kept[-1].event_id] == [
        f"evt_{KEPT_OF_A_WEBHOOK + 4}",
        "evt_5",
    ]


def _delivery(number: int) -> Delivery:
    return Delivery(
        webhook=1,
        event_id=f"evt_{number}",
        type="test",
        at=1,
        attempt=1,
        status=500,
        duration_ms=1,
        said="x" * 9_999,
    )


# ---- an operator's sink


class Memory:
    """Keeps events, or fails."""

    name = "file"

    def __init__(self) -> None:
        self.events: list[ToldEvent] = []
        self.fails = False

    def write(self, events: Sequence[ToldEvent]) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.events += events

    def close(self) -> None: ...


@asynccontextmanager
async def _tailing(place: Place, sink: Memory) -> AsyncIterator[None]:
    task = asyncio.create_task(
        Tail(writer=place.writer, clock=SystemClock(), sink=sink).run()
    )
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_sink_is_told_of_all_tenants_from_its_first_start_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_TROUBLE", timedelta(milliseconds=10))
    sink = Memory()
    await place.do(*_story(1))

    def has_begun(at: Connection) -> bool:
        return the_cursor(at, "file") is not None

    async with _tailing(place, sink):
        while not await place.writer.read(has_begun):
            await asyncio.sleep(0.01)
        later = SystemClock().unix_ms() + 1_000
        await place.do(
            lambda at: with_message(at, 2, RIVAL),
            lambda at: tried(at, 2, OK, later),
            lambda at: happened(at, EventKind.SOURCE_BLOCKED, later, tenant=None),
        )
        await place.until(lambda: len(sink.events) == 2)
        sink.fails = True
        await place.do(lambda at: tried(at, 2, OK, later + 1))
        await asyncio.sleep(0.1)
        sink.fails = False
        await place.until(lambda: len(sink.events) == 3)
    await place.do(lambda at: tried(at, 2, OK, later + 2))
    async with _tailing(place, sink):  # after a restart
        await place.until(lambda: len(sink.events) == 4)
    assert [one.type for one in sink.events] == [
        "delivered",
        "source-blocked",
        "delivered",
        "delivered",
    ]
    assert sink.events[0].tenant == RIVAL
    assert sink.events[0].message == MessageId(2)


async def test_a_store_row_of_another_release_stops_no_sink(place: Place) -> None:
    """An event kind that this release does not know is told all the same."""
    sink = Memory()
    async with _tailing(place, sink):
        await asyncio.sleep(0.1)
        await place.do(
            lambda at: at.execute(
                insert(schema.event).values(
                    at=SystemClock().unix_ms() + 1_000,
                    kind="of-tomorrow",
                    tenant_id="acme",
                    actor="x",
                    detail="{}",
                )
            )
        )
        await place.until(lambda: len(sink.events) == 1)
