"""What happened, read for others: nothing skipped, in order, once more when asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import (
    NOWHERE,
    WEBHOOKS,
    Horizon,
    Position,
    advance,
    begin,
    newest,
    the_cursor,
)
from soboo_mta.events.outbox.feed import fan_out, replay_some, replay_start
from soboo_mta.events.outbox.queue import (
    Again,
    Done,
    Waiting,
    call_back,
    drop_old,
    due,
    ready_webhooks,
    settle,
    waiting_count,
)
from soboo_mta.events.outbox.source import read_events
from soboo_mta.events.outbox.webhooks import (
    MOST_OF_A_TENANT,
    Webhook,
    add_webhook,
    disable_webhook,
    enable_webhook,
    mark_failing,
    remove_webhook,
    the_webhook,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.spool.moves.sweep import sweep_once
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.happenings import LATER, NO, OK, happened, tried, with_message
from tests.fakes.tenancy import ACME, RIVAL, with_tenants

_BEGUN = 1_000  # when the webhooks here were added
_MANY = 100_000


@pytest.fixture
def filled(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def _do(engine: Engine, *steps: Callable[[Connection], object]) -> None:
    def all_of_them(at: Connection) -> None:
        for step in steps:
            step(at)

    write_now(engine, all_of_them)


def _hook(
    engine: Engine, *types: str, tenant: TenantId = ACME, now: int = _BEGUN
) -> Webhook:
    return write_now(
        engine,
        lambda at: add_webhook(
            at, tenant=tenant, url="https://a.example/", types=types, now=now
        ),
    )


def _feed(engine: Engine, *, now: int = 5_000, most: int = _MANY) -> int:
    """Feed all there is; return how many events were read."""
    horizon, told = Horizon(), 0
    read_now(engine, horizon.look)  # on PostgreSQL the second look knows
    while True:

        def step(at: Connection) -> tuple[int, bool]:
            cursor = the_cursor(at, WEBHOOKS)
            assert cursor is not None
            batch = read_events(at, cursor.position, horizon.look(at), most=3)
            assert fan_out(at, batch, cursor.position, now=now, most=most)
            return len(batch.events), batch.is_full

        some, is_full = write_now(engine, step)
        told += some
        if not is_full:
            return told


def _due(engine: Engine, hook: Webhook, now: int = 10_000) -> tuple[Waiting, ...]:
    return read_now(engine, lambda at: due(at, hook.number, now, 100))


def _types(engine: Engine, hook: Webhook) -> list[str]:
    query = select(schema.outbox.c.type).where(
        schema.outbox.c.webhook_id == hook.number
    )
    return list(
        read_now(engine, lambda at: at.scalars(query.order_by(schema.outbox.c.id)))
    )


# ---- what is told to whom


def test_each_tenant_is_told_of_its_own_mail_alone(filled: Engine) -> None:
    acme, rival = _hook(filled), _hook(filled, tenant=RIVAL)
    _do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: with_message(at, 2, RIVAL),
        lambda at: with_message(at, 3, domain_id=-1),  # a report of ours to acme
        lambda at: tried(at, 1, OK, 2_000),
        lambda at: tried(at, 2, NO, 2_001),
        lambda at: tried(at, 3, OK, 2_002),
        lambda at: happened(at, EventKind.SOURCE_BLOCKED, 2_003, tenant=None),
        lambda at: happened(at, EventKind.DOMAIN_AT_RISK, 2_004, domain="customer.com"),
    )
    assert _feed(filled) == 5
    assert _types(filled, acme) == ["delivered", "domain-at-risk"]
    assert _types(filled, rival) == ["failed"]
    (told, _) = _due(filled, acme)
    assert json.loads(told.body) == {
        "id": told.event_id,
        "type": "delivered",
        "at": "1970-01-01T00:00:02.000Z",
        "tenant": "acme",
        "message": str(MessageId(1)),
        "message_id": "<1@customer.com>",
        "recipient": "ann@there.example",
        "domain": "customer.com",
        "reply": "250 2.0.0 taken",
        "reason": "reply",
        "host": "mx[192.0.2.1]:25",
        "source": "",
        "tls": "",
        "duration_ms": 7,
    }


def test_a_webhook_hears_of_its_types_and_of_nothing_before_it_was_added(
    filled: Engine,
) -> None:
    _do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: tried(at, 1, LATER, _BEGUN - 1),
    )
    hook = _hook(filled, "failed", "returned-or-so")
    _do(
        filled,
        lambda at: tried(at, 1, LATER, 2_000),
        lambda at: tried(at, 1, NO, 3_000),
    )
    _feed(filled)
    assert _types(filled, hook) == ["failed"]


def test_an_operators_name_is_not_told(filled: Engine) -> None:
    hook = _hook(filled)
    _do(
        filled,
        lambda at: happened(
            at, EventKind.MESSAGE_HELD, 2_000, actor="cli:alice", detail={"n": 1}
        ),
    )
    _feed(filled)
    (told,) = _due(filled, hook)
    assert json.loads(told.body)["actor"] == "operator"
    assert "alice" not in told.body


def test_both_tables_are_merged_by_time_also_where_one_is_cut_off(
    filled: Engine,
) -> None:
    hook = _hook(filled)
    _do(filled, lambda at: with_message(at, 1))
    for number in range(5):
        _do(
            filled,
            lambda at, n=number: tried(at, 1, LATER, 2_000 + 10 * n),
        )
    _do(filled, lambda at: happened(at, EventKind.MESSAGE_HELD, 2_035, message=1))
    _do(filled, lambda at: tried(at, 1, OK, 2_100))
    _feed(filled)
    assert _types(filled, hook) == [
        *["deferred"] * 4,
        "message-held",
        "deferred",
        "delivered",
    ]


def test_ids_are_the_same_at_each_reading_and_differ_between_events(
    filled: Engine,
) -> None:
    _do(filled, lambda at: with_message(at, 1))
    for when in range(50):
        _do(filled, lambda at, w=when: tried(at, 1, LATER, w))
    _do(filled, lambda at: happened(at, EventKind.MESSAGE_HELD, 7, message=1))

    def ids(at: Connection) -> list[str]:
        read = read_events(at, NOWHERE, newest(at))
        return [one.event_id for one in read.events]

    first = read_now(filled, ids)
    assert read_now(filled, ids) == first
    assert len(set(first)) == 51
    assert all(one.startswith("evt_") and len(one) == 28 for one in first)


# ---- nothing is skipped


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection, connection.begin():
        yield connection


# SQLite has one writer at a time.
on_postgresql = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


@on_postgresql
def test_a_lower_id_that_commits_later_is_not_skipped(filled: Engine) -> None:
    """Two writers on PostgreSQL: who takes the first id commits last."""
    _hook(filled)
    _do(filled, lambda at: with_message(at, 1))
    horizon = Horizon()

    def told(at: Connection) -> list[str]:
        cursor = the_cursor(at, WEBHOOKS)
        assert cursor is not None
        batch = read_events(at, cursor.position, horizon.look(at))
        assert advance(at, cursor, batch.position)
        return [one.type for one in batch.events]

    with _transaction(filled) as slow:
        tried(slow, 1, LATER, 2_000)  # has its id, is not committed
        with _transaction(filled) as quick:
            tried(quick, 1, OK, 2_001)  # a higher id, committed
        for _ in range(3):
            assert write_now(filled, told) == []
        with _transaction(filled) as other:
            happened(other, EventKind.MESSAGE_HELD, 2_002)
        assert write_now(filled, told) == []
    seen = [type_ for _ in range(3) for type_ in write_now(filled, told)]
    assert seen == ["deferred", "delivered", "message-held"]


@on_postgresql
def test_a_writer_without_a_transaction_number_yet_holds_the_horizon_back(
    filled: Engine,
) -> None:
    """Its id is taken, and it has written nothing: no snapshot's xmin knows of it."""
    _hook(filled)
    _do(filled, lambda at: with_message(at, 1))
    horizon = Horizon()
    with _transaction(filled) as slow:
        # As an INSERT begins: the table's lock, then the id; the row comes last.
        slow.exec_driver_sql("LOCK TABLE attempt IN ROW EXCLUSIVE MODE")
        taken = slow.exec_driver_sql("SELECT nextval('attempt_id_seq')").scalar_one()
        _do(filled, lambda at: tried(at, 1, OK, 2_001))
        for _ in range(3):
            assert read_now(filled, horizon.look).attempt_id < taken
        slow.execute(
            insert(schema.attempt).values(
                id=taken,
                message_id=1,
                position=0,
                at=1,
                outcome="deferred",
                reason="reply",
                reply="",
                host="",
                source="",
                tls="",
                duration_ms=0,
            )
        )
    read_now(filled, horizon.look)
    assert read_now(filled, horizon.look).attempt_id == taken + 1


def test_an_id_that_was_rolled_back_stops_nobody(filled: Engine) -> None:
    hook = _hook(filled)
    _do(filled, lambda at: with_message(at, 1))

    def fails(at: Connection) -> None:
        tried(at, 1, LATER, 2_000)
        raise FormatError("no")

    with pytest.raises(FormatError):
        write_now(filled, fails)
    _do(filled, lambda at: tried(at, 1, OK, 2_001))
    _feed(filled)
    assert _types(filled, hook) == ["delivered"]


def test_ids_that_come_again_after_retention_are_not_skipped(filled: Engine) -> None:
    """SQLite counts anew once the last row of a table is gone."""
    hook = _hook(filled)
    _do(
        filled,
        lambda at: with_message(at, 1, settled_at=3_000),
        lambda at: tried(at, 1, LATER, 2_000),
        lambda at: tried(at, 1, OK, 2_001),
    )
    assert _feed(filled) == 2
    while write_now(
        filled, lambda at: sweep_once(at, settled_before=9_000, staged_before=0)
    ):
        pass
    _do(filled, lambda at: with_message(at, 2), lambda at: tried(at, 2, NO, 9_100))
    assert _feed(filled) == 1
    assert _types(filled, hook) == ["deferred", "delivered", "failed"]
    assert read_now(filled, lambda at: the_cursor(at, WEBHOOKS).lost) == 0  # type: ignore[union-attr]  # it is there


def test_rows_that_retention_deletes_unread_are_counted(filled: Engine) -> None:
    _hook(filled)
    _do(
        filled,
        lambda at: with_message(at, 1, settled_at=3_000),
        lambda at: tried(at, 1, LATER, 2_000),
        lambda at: happened(at, EventKind.DOMAIN_BROKEN, 2_001),
    )
    while write_now(
        filled, lambda at: sweep_once(at, settled_before=9_000, staged_before=0)
    ):
        pass
    assert read_now(filled, lambda at: the_cursor(at, WEBHOOKS).lost) == 2  # type: ignore[union-attr]  # it is there


def test_of_two_readers_one_moves_the_cursor(filled: Engine) -> None:
    hook = _hook(filled)
    _do(filled, lambda at: with_message(at, 1), lambda at: tried(at, 1, OK, 2_000))

    def read(at: Connection) -> tuple[Position, object]:
        cursor = the_cursor(at, WEBHOOKS)
        assert cursor is not None
        return cursor.position, read_events(at, cursor.position, newest(at))

    was, batch = read_now(filled, read)
    step = lambda at: fan_out(at, batch, was, now=1, most=9)  # noqa: E731
    assert write_now(filled, step)
    assert not write_now(filled, step)
    assert _types(filled, hook) == ["delivered"]


# ---- the queue


def _three(filled: Engine) -> Webhook:
    """deferred and delivered of message 1, failed of message 2."""
    hook = _hook(filled)
    _do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: with_message(at, 2),
        lambda at: tried(at, 1, LATER, 2_000),
        lambda at: tried(at, 1, OK, 2_001),
        lambda at: tried(at, 2, NO, 2_002),
    )
    _feed(filled)
    return hook


def test_a_later_event_of_a_message_waits_for_the_earlier_one(filled: Engine) -> None:
    hook = _three(filled)
    first, other = _due(filled, hook)
    assert (first.type, other.type) == ("deferred", "failed")

    _do(filled, lambda at: settle(at, [Again(waiting=first, due_at=60_000)], now=1))
    assert [one.type for one in _due(filled, hook)] == ["failed"]  # others go on
    _do(filled, lambda at: tried(at, 1, LATER, 2_100))
    _feed(filled)  # joins its lane
    assert [one.type for one in _due(filled, hook)] == ["failed"]
    (_, again) = _due(filled, hook, now=60_000)
    assert (again.event_id, again.attempts) == (first.event_id, 1)

    done = [
        Done(waiting=again, is_dropped=False),
        Done(waiting=other, is_dropped=False),
    ]
    _do(filled, lambda at: settle(at, done, now=60_000))
    assert [one.type for one in _due(filled, hook, 60_000)] == ["delivered"]


def test_what_is_given_up_frees_its_message_and_is_counted(filled: Engine) -> None:
    hook = _three(filled)
    (first, _) = _due(filled, hook)
    _do(
        filled,
        lambda at: settle(at, [Again(waiting=first, due_at=60_000)], now=1),
        lambda at: settle(at, [Done(waiting=first, is_dropped=True)], now=7_000),
    )
    assert [one.type for one in _due(filled, hook, 7_000)] == ["failed", "delivered"]
    assert read_now(filled, lambda at: the_webhook(at, hook.number)).dropped == 1


def test_over_the_bound_events_are_dropped_and_counted(filled: Engine) -> None:
    hook = _hook(filled)
    _do(filled, lambda at: with_message(at, 1))
    for when in range(5):
        _do(filled, lambda at, w=when: tried(at, 1, LATER, 2_000 + w))
    _feed(filled, most=4)
    assert len(_types(filled, hook)) == 4
    assert read_now(filled, lambda at: the_webhook(at, hook.number)).dropped == 1


def test_old_events_are_dropped_and_counted(filled: Engine) -> None:
    hook = _three(filled)
    assert write_now(filled, lambda at: drop_old(at, 5_000)) == 0
    assert write_now(filled, lambda at: drop_old(at, 5_001)) == 3
    assert read_now(filled, lambda at: the_webhook(at, hook.number)).dropped == 3
    assert _types(filled, hook) == []


def test_a_clock_set_back_keeps_no_event_waiting(filled: Engine) -> None:
    hook = _three(filled)
    (first, _) = _due(filled, hook)
    _do(filled, lambda at: settle(at, [Again(waiting=first, due_at=10**9)], now=1))
    _do(filled, lambda at: call_back(at, latest=10**8, now=6_000))
    assert len(_due(filled, hook, 6_000)) == 2


def test_the_webhook_that_waits_longest_is_served_first(filled: Engine) -> None:
    acme, rival = _hook(filled), _hook(filled, tenant=RIVAL)
    _do(
        filled,
        lambda at: with_message(at, 1),
        lambda at: with_message(at, 2, RIVAL),
        lambda at: tried(at, 2, OK, 2_000),
    )
    _feed(filled, now=5_000)
    _do(filled, lambda at: tried(at, 1, OK, 2_001))
    _feed(filled, now=5_001)
    ready = lambda now: read_now(filled, lambda at: ready_webhooks(at, now))  # noqa: E731
    assert ready(4_999) == ()
    assert ready(5_000) == (rival.number,)
    assert ready(5_001) == (rival.number, acme.number)


# ---- webhooks


def test_a_disabled_webhook_is_told_nothing_until_it_is_enabled(filled: Engine) -> None:
    hook = _three(filled)
    disable = lambda at: disable_webhook(  # noqa: E731
        at, hook.number, because="gone", actor="webhooks", now=6_000
    )
    assert write_now(filled, disable)
    assert not write_now(filled, disable)
    one = read_now(filled, lambda at: the_webhook(at, hook.number))
    assert (one.disabled_because, one.dropped) == ("gone", 3)
    assert read_now(filled, lambda at: the_cursor(at, WEBHOOKS)) is None
    _do(filled, lambda at: tried(at, 2, NO, 6_500))

    assert write_now(filled, lambda at: enable_webhook(at, hook.number, now=7_000))
    _do(filled, lambda at: tried(at, 1, OK, 7_500))
    _feed(filled)
    assert _types(filled, hook) == ["delivered"]
    kinds = read_now(filled, lambda at: list(at.scalars(select(schema.event.c.kind))))
    assert kinds == ["webhook-disabled"]


def test_since_when_it_fails_is_kept_until_it_accepts(filled: Engine) -> None:
    hook = _hook(filled)

    def since() -> int | None:
        return read_now(filled, lambda at: the_webhook(at, hook.number)).failing_since

    for step, seen in ((5, 5), (9, 5), (None, None), (11, 11)):
        _do(filled, lambda at, s=step: mark_failing(at, hook.number, s))
        assert since() == seen


def test_a_removed_webhook_leaves_nothing(filled: Engine) -> None:
    hook = _three(filled)
    _do(filled, lambda at: remove_webhook(at, hook.number))
    with pytest.raises(FormatError, match="there is no webhook"):
        read_now(filled, lambda at: the_webhook(at, hook.number))
    assert read_now(filled, lambda at: waiting_count(at, hook.number, 9)) == 0
    assert _hook(filled).number != hook.number  # no secret fits another


def test_a_tenant_has_so_many_webhooks_at_most(filled: Engine) -> None:
    for _ in range(MOST_OF_A_TENANT):
        _hook(filled)
    with pytest.raises(FormatError, match="remove one of them first"):
        _hook(filled)
    _hook(filled, tenant=RIVAL)


# ---- replay


def _replay(
    filled: Engine, hook: Webhook, since: int, until: int, most: int = 99
) -> int:
    place: Position | None = read_now(filled, lambda at: replay_start(at, since))
    queued = 0
    while place is not None:
        done = write_now(
            filled,
            lambda at, p=place: replay_some(
                at, hook, p, since=since, until=until, now=9_000, most=most
            ),
        )
        queued, place = queued + done.queued, done.after
    return queued


def test_a_replay_queues_the_same_events_again_and_marks_them(filled: Engine) -> None:
    hook = _three(filled)
    before = {one.event_id: one.body for one in _due(filled, hook)}
    _do(filled, lambda at: at.execute(delete(schema.outbox)))
    assert _replay(filled, hook, 2_000, 2_001) == 1
    (again,) = _due(filled, hook)
    told = json.loads(again.body)
    assert told.pop("replayed") is True
    assert told == json.loads(before[again.event_id])
    assert _replay(filled, hook, 2_001, 9_000) == 2
    assert _replay(filled, hook, 2_003, 9_000) == 0
    assert _replay(filled, hook, 0, 9_000, most=5) == 2  # there was room for two


def test_a_replay_begins_where_its_time_begins(filled: Engine) -> None:
    _do(filled, lambda at: with_message(at, 1))
    day = 86_400_000

    def fill(at: Connection) -> None:
        for number in range(200):
            tried(at, 1, LATER, number * day)

    _do(filled, fill)
    ids = read_now(filled, lambda at: list(at.scalars(select(schema.attempt.c.id))))
    start = read_now(filled, lambda at: replay_start(at, 150 * day))
    assert start.attempt_id == ids[149]
    assert read_now(filled, lambda at: replay_start(at, 0)).attempt_id == ids[0] - 1
    late = read_now(filled, lambda at: replay_start(at, 999 * day))
    assert late.attempt_id == ids[-1]


def test_a_cursor_begins_a_little_before_what_is_being_written(filled: Engine) -> None:
    _do(filled, lambda at: with_message(at, 1), lambda at: tried(at, 1, OK, 1))
    _do(filled, lambda at: at.execute(update(schema.attempt).values(id=5_000)))
    _do(filled, lambda at: begin(at, "file", since=7))
    cursor = read_now(filled, lambda at: the_cursor(at, "file"))
    assert cursor is not None
    assert (cursor.position, cursor.since) == (Position(4_000, 0), 7)
