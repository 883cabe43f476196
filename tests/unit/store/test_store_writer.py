"""The writer on both stores: whole units, only the guilty fail, order, bounds, shutdown."""

import asyncio
import errno
import fcntl
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update
from sqlalchemy.event import listen

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.engine import open_engine
from soboo_mta.store.execute import explained, is_guilty, merged
from soboo_mta.store.lock import WriteLock
from soboo_mta.store.schema import event, plan
from soboo_mta.store.unit import (
    Fenced,
    Statement,
    Step,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from soboo_mta.store.writer import Writer, WriterOptions, read_now, write_now

ADD = insert(plan)
CHANGE = (
    update(plan)
    .where(plan.c.id == bindparam("this"))
    .values(detail=bindparam("detail"))
)


def add(number: int, detail: str = "{}") -> Statement:
    return Statement(ADD, ({"id": number, "detail": detail},))


def change(number: int, detail: str) -> Statement:
    return Statement(CHANGE, ({"this": number, "detail": detail},), expected=1)


def details(connection: Connection) -> dict[int, str]:
    rows = connection.execute(select(plan.c.id, plan.c.detail))
    return {row.id: row.detail for row in rows}


async def test_unit_is_there_once_commit_returns(
    writer: Writer, engine: Engine
) -> None:
    await writer.commit([add(1), change(1, "new")])
    assert read_now(engine, details) == {1: "new"}


async def test_a_step_is_done_in_the_transaction_of_its_statements(
    writer: Writer, engine: Engine
) -> None:
    seen: list[dict[int, str]] = []

    def act(connection: Connection) -> None:
        seen.append(details(connection))
        connection.execute(ADD, {"id": 2, "detail": "by the step"})

    await writer.commit([Step(act), add(1)])
    assert seen == [{1: "{}"}]
    assert read_now(engine, details) == {1: "{}", 2: "by the step"}


async def test_a_step_that_fails_leaves_nothing_and_takes_no_other_down(
    writer: Writer, engine: Engine
) -> None:
    await writer.commit([add(1)])

    def again(connection: Connection) -> None:
        connection.execute(ADD, {"id": 1, "detail": "{}"})

    bad, good = await asyncio.gather(
        writer.commit([add(2), Step(again)]),
        writer.commit([add(3)]),
        return_exceptions=True,
    )
    assert isinstance(bad, StoreError)
    assert good is None
    assert set(read_now(engine, details)) == {1, 3}


async def test_fenced_unit_leaves_nothing_and_takes_no_other_down(
    writer: Writer, engine: Engine
) -> None:
    units = [[add(n), change(n if n != 3 else 99, "x")] for n in range(8)]
    results = await asyncio.gather(
        *(writer.commit(unit) for unit in units), return_exceptions=True
    )
    assert [type(result) for result in results].index(Fenced) == 3
    assert sum(result is None for result in results) == 7
    assert sorted(read_now(engine, details)) == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_what_comes_while_another_process_writes_is_one_group(
    engine: Engine,
) -> None:
    groups: list[float] = []
    writer = Writer(engine, on_commit=groups.append)
    await writer.start()
    with closing(WriteLock(engine)) as other:
        with other:
            first = asyncio.create_task(writer.commit([add(0)]))
            await asyncio.sleep(0.05)  # handed over; the thread waits for the lock
            further = [asyncio.create_task(writer.commit([add(n)])) for n in (1, 2)]
            await asyncio.sleep(0.05)
        await asyncio.gather(first, *further)
    await writer.close()
    assert len(groups) == 1
    assert sorted(read_now(engine, details)) == [0, 1, 2]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_others_write_between_the_units_of_a_group_that_failed(
    writer: Writer, engine: Engine
) -> None:
    turns, over = [], threading.Event()

    def other() -> None:
        with closing(WriteLock(engine)) as lock:
            while not over.is_set():
                with lock:
                    turns.append(len(read_now(engine, details)))

    thread = threading.Thread(target=other)
    thread.start()
    units = [[add(n if n != 99 else 98)] for n in range(200)]
    results = await asyncio.gather(
        *(writer.commit(unit) for unit in units), return_exceptions=True
    )
    over.set()
    thread.join()
    assert sum(isinstance(result, StoreError) for result in results) == 1
    assert len(set(turns)) > 3  # it saw some of the group committed, more and more


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_lock_that_cannot_be_had_fails_its_group_alone(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, troubles = fcntl.flock, [OSError(errno.ENOLCK, "No locks available")]

    def troubled(handle: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and troubles:
            raise troubles.pop()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", troubled)
    with pytest.raises(StoreUnavailable, match="No locks available"):
        await writer.commit([add(1)])
    await writer.commit([add(2)])


async def test_broken_constraint_fails_its_own_unit_alone(
    writer: Writer, engine: Engine
) -> None:
    await writer.commit([add(1, "first")])
    results = await asyncio.gather(
        *(writer.commit([add(n)]) for n in (0, 1, 2)), return_exceptions=True
    )
    assert [result is None for result in results] == [True, False, True]
    assert isinstance(results[1], StoreError)
    assert read_now(engine, details)[1] == "first"


async def test_a_lock_file_that_cannot_be_opened_is_the_stores_trouble(
    sqlite_url: str,
) -> None:
    engine = open_engine(sqlite_url)
    writer = Writer(engine)
    await writer.start()
    lock = Path(f"{engine.url.database}.lock")
    lock.mkdir()  # as where no descriptor is left: the system refuses to open it
    with pytest.raises(StoreUnavailable):
        await writer.transact(details)
    with pytest.raises(StoreUnavailable):
        await writer.commit([add(1)])
    with pytest.raises(StoreUnavailable):
        write_now(engine, details)
    lock.rmdir()
    await writer.commit([add(1)])
    assert read_now(engine, details) == {1: "{}"}
    await writer.close()
    engine.dispose()


async def test_case_123_cancelled_caller_does_not_cancel_the_commit(
    writer: Writer, engine: Engine
) -> None:
    task = asyncio.ensure_future(writer.commit([add(1)]))
    await asyncio.sleep(0)  # handed in
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.transact(lambda _connection: None)  # what was before it is done
    assert read_now(engine, details) == {1: "{}"}


async def test_transaction_that_raises_is_rolled_back(
    writer: Writer, engine: Engine
) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(ADD, {"id": 1, "detail": ""})
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await writer.transact(broken)
    assert read_now(engine, details) == {}


async def test_writer_goes_on_after_an_error_of_ours(
    writer: Writer, engine: Engine
) -> None:
    with pytest.raises(StoreError):
        await writer.commit([Statement(ADD, ({"no_such_column": 1},))])
    await writer.commit([add(1)])
    assert read_now(engine, details) == {1: "{}"}


async def test_close_commits_what_is_queued_and_refuses_what_comes_later(
    engine: Engine,
) -> None:
    writer = Writer(engine, options=WriterOptions(queued_units=3))
    await writer.start()
    tasks = [asyncio.ensure_future(writer.commit([add(n)])) for n in range(3)]
    await asyncio.sleep(0)
    await writer.close()
    await asyncio.gather(*tasks)
    assert len(read_now(engine, details)) == 3
    with pytest.raises(StoreUnavailable):
        await writer.commit([add(9)])


async def test_full_queue_makes_callers_wait_and_loses_nothing(engine: Engine) -> None:
    writer = Writer(engine, options=WriterOptions(queued_units=2, group_rows=3))
    await writer.start()
    await asyncio.gather(*(writer.commit([add(n)]) for n in range(50)))
    await writer.close()
    assert len(read_now(engine, details)) == 50


async def test_case_132_two_writers_on_one_store_lose_nothing(engine: Engine) -> None:
    other_engine = open_engine(engine.url.render_as_string(hide_password=False))
    writers = Writer(engine), Writer(other_engine)
    for writer in writers:
        await writer.start()
    await asyncio.gather(
        *(writers[n % 2].commit([add(n)]) for n in range(200)),
    )
    for writer in writers:
        await writer.close()
    other_engine.dispose()
    assert len(read_now(engine, details)) == 200


async def test_cli_writes_beside_a_running_writer(
    writer: Writer, engine: Engine
) -> None:
    def insert_one(connection: Connection) -> None:
        connection.execute(ADD, {"id": 1, "detail": "cli"})

    await asyncio.gather(
        asyncio.to_thread(write_now, engine, insert_one),
        *(writer.commit([add(n)]) for n in range(2, 20)),
    )
    assert len(read_now(engine, details)) == 19


def test_statements_of_several_units_are_merged_in_each_units_order() -> None:
    one = [add(1), change(1, "a"), add(2)]
    two = [change(1, "b"), add(3)]
    batches = merged([one, two])
    assert [(batch.clause, len(batch.rows)) for batch in batches] == [
        (ADD, 1),
        (CHANGE, 2),
        (ADD, 2),
    ]
    assert batches[1].expected == 2


async def test_in_list_of_a_clause_is_expanded(writer: Writer, engine: Engine) -> None:
    await writer.commit([add(1), add(2), add(3)])
    clause = update(plan).where(plan.c.id.in_([1, 3])).values(detail="both")
    await writer.commit([Statement(clause, ({},), expected=2)])
    assert sorted(read_now(engine, details).values()) == ["both", "both", "{}"]


def _sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as injected")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind", "guilty"),
    [
        (13, StoreFull, True),  # SQLITE_FULL: smaller units may fit
        (10, StoreUnavailable, False),  # SQLITE_IOERR
        (4874, StoreFull, False),  # SQLITE_IOERR_SHMSIZE: the log's index cannot grow
        (1034, StoreUnavailable, False),  # SQLITE_IOERR_FSYNC
        (5, StoreUnavailable, False),  # SQLITE_BUSY
        (8, StoreUnavailable, False),  # SQLITE_READONLY
        (11, StoreUnavailable, False),  # SQLITE_CORRUPT
        (1555, StoreError, True),  # SQLITE_CONSTRAINT_PRIMARYKEY
    ],
)
def test_case_131_driver_errors_mean_what_clients_are_told(
    code: int, kind: type[StoreError], guilty: bool
) -> None:
    error = _sqlite_error(code)
    assert type(explained(error)) is kind
    assert is_guilty(error) is guilty


def test_case_126_page_limit_reached_is_store_full_and_recovers(
    sqlite_url: str,
) -> None:
    engine = open_engine(sqlite_url)

    def pages(connection: Connection, limit: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={limit}")

    async def fill() -> None:
        writer = Writer(engine)
        await writer.start()
        await writer.transact(lambda connection: pages(connection, 60))
        with pytest.raises(StoreFull):
            await writer.commit([add(1, "x" * 1_000_000)])
        await writer.commit([add(2, "small")])
        await writer.close()

    asyncio.run(fill())
    assert read_now(engine, details) == {2: "small"}
    engine.dispose()


def test_case_122_sqlite_syncs_each_commit(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    engine.dispose()


def test_store_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    open_engine(f"sqlite:///{tmp_path / 'new.db'}").dispose()
    assert (tmp_path / "new.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", ""])
def test_other_stores_are_refused(url: str) -> None:
    with pytest.raises(StoreError):
        open_engine(url)


def test_unreachable_store_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        open_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    with pytest.raises(StoreUnavailable):
        open_engine("postgresql://nobody@127.0.0.1:1/none")


@pytest.mark.parametrize("name", ["synchronous_commit", "fsync"])
def test_case_122_postgresql_that_would_lose_commits_is_refused(
    postgresql_server: str, name: str
) -> None:
    url = f"{postgresql_server}&options=-c%20{name}%3Doff"
    if name == "fsync":
        pytest.importorskip("psycopg")
        with pytest.raises((StoreError, StoreUnavailable)):
            open_engine(url)  # the server lets no session turn it off
    else:
        with pytest.raises(StoreError, match="synchronous_commit"):
            open_engine(url)


async def test_events_of_a_transaction_are_counted_on_a_reader(writer: Writer) -> None:
    count = select(func.count()).select_from(event)
    assert await writer.read(lambda connection: connection.scalar(count)) == 0


async def test_a_value_that_no_store_takes_fails_its_own_unit_alone(writer, engine):
    def unit(tenant: str, at: int = 1) -> list[Statement]:
        kind = EventKind.TENANT_ADDED
        return [recorded(kind, at=at, actor="x", tenant=TenantId(tenant))]

    is_postgresql = engine.dialect.name == "postgresql"
    poison = unit("bad\0") if is_postgresql else unit("bad", 1 << 70)
    done = await asyncio.gather(
        writer.commit(unit("good")), writer.commit(poison), return_exceptions=True
    )
    assert done[0] is None
    assert type(done[1]) is StoreError  # not "try again": it will never do


@pytest.mark.parametrize(
    "trouble", ["BEGIN IMMEDIATE", "PRAGMA query_only=1"], ids=["locked", "read-only"]
)
async def test_case_131_a_store_that_is_locked_or_read_only_is_waited_for(
    sqlite_url: str, trouble: str
) -> None:
    """By somebody who does not know of our lock: clients are told 451 and lose nothing."""
    engine = open_engine(sqlite_url)
    listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=20"))
    writer = Writer(engine)
    await writer.start()
    await writer.commit([add(1)])
    if trouble.startswith("PRAGMA"):
        await writer.transact(lambda at: at.exec_driver_sql(trouble) and None)
        with pytest.raises(StoreUnavailable):
            await writer.commit([add(2)])  # its connection is thrown away with it
    else:
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        other.execute(trouble)
        with pytest.raises(StoreUnavailable):
            await writer.commit([add(2)])
        other.rollback()
        other.close()
    await writer.commit([add(3)])
    assert sorted(read_now(engine, details)) == [1, 3]
    await writer.close()
    engine.dispose()
