"""The one thread of a process that writes: group commit, and reads beside it.

Rooms hand in units of statements; whatever arrived while the last commit was syncing goes
into the next transaction. A unit that fails takes no other down with it. Nothing is
reported as done before the synced commit returned (RFC 5321 §6.1).
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine, update
from sqlalchemy.exc import SQLAlchemyError

from soboo_mta.store.engine import WRITES
from soboo_mta.store.execute import Runner, explained, is_guilty, merged
from soboo_mta.store.lock import WriteLock
from soboo_mta.store.schema import identity_generation
from soboo_mta.store.unit import Step, StoreUnavailable, Unit

T = TypeVar("T")
_GIVING_WAY = 0.0005  # seconds between the units of a group that failed
_OF_THE_STORE = (SQLAlchemyError, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """Bounds of the writer."""

    queued_units: int = 2_000
    """Units waiting for the thread; over it, `commit` waits for room."""
    group_rows: int = 1_000
    """Rows in one transaction (a single larger unit goes alone)."""
    group_octets: int = 1_048_576
    """Octets of content in one transaction (a single larger unit goes alone)."""
    readers: int = 2
    """Threads that serve `read`."""


@dataclass(slots=True, eq=False)
class _Unit:
    asked: Unit
    rows: int
    octets: int
    done: asyncio.Future[object]


@dataclass(slots=True, eq=False)
class _Call:
    function: Callable[[Connection], object]
    done: asyncio.Future[object]


_Result = tuple[asyncio.Future[object], object, Exception | None]
_Job = _Unit | _Call
_STOP: list[_Job] = []  # an empty hand-over ends the thread


class Writer:
    """Commits units and runs transactions, one after another, on a thread of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        options: WriterOptions | None = None,
        on_commit: Callable[[float], None] | None = None,
    ) -> None:
        """`on_commit` is told, on the thread, how many seconds each group took."""
        self._engine = engine
        self._options = options or WriterOptions()
        self._outbox: list[_Job] = []
        self._jobs: queue.SimpleQueue[list[_Job]] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(self._options.queued_units)
        self._on_commit = on_commit
        self._lock = WriteLock(engine)
        self._transactor = _Transactor(engine)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers = ThreadPoolExecutor(self._options.readers, "store-reader")

    @property
    def engine(self) -> Engine:
        return self._engine

    async def start(self) -> None:
        """Start the thread; call once, from the loop that will use the writer."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._thread.start()

    async def close(self) -> None:
        """Commit what is queued, then stop; later calls raise StoreUnavailable."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hand_over()
            self._jobs.put(_STOP)
            await asyncio.to_thread(thread.join)
            await asyncio.to_thread(self._readers.shutdown)

    async def commit(self, unit: Unit) -> None:
        """Return when `unit` is committed and synced, whole; else raise StoreError.

        Fenced: a statement touched another number of rows than expected, and nothing of
        the unit happened. Cancelling the caller does not cancel the commit. Units given
        in without waiting for each other have no order between them.
        """
        rows = octets = 0
        for statement in unit:
            if isinstance(statement, Step):
                rows += statement.rows
                continue
            rows += len(statement.rows)
            for row in statement.rows:
                for value in row.values():
                    if type(value) is bytes:
                        octets += len(value)
        done: asyncio.Future[object] = self._running_loop().create_future()
        await self._put(_Unit(unit, rows, octets, done))
        await done

    async def transact(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a write transaction of its own on the writer's thread.

        Committed and synced on return; rolled back where it raises. SQLAlchemy's errors
        come out as StoreError. Cancelling the caller does not stop it.
        """
        done: asyncio.Future[object] = self._running_loop().create_future()
        await self._put(_Call(function, done))
        return await done  # type: ignore[return-value]  # _Call forgets T

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run `function` on one snapshot beside the writer, on a reader's thread."""
        return await self._running_loop().run_in_executor(
            self._readers, read_now, self._engine, function
        )

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._thread is None or self._loop is None:
            raise StoreUnavailable("the writer is not running")
        return self._loop

    async def _put(self, job: _Unit | _Call) -> None:
        await self._room.acquire()
        try:
            self._running_loop()  # may have been closed while waiting for room
        except StoreUnavailable:
            self._room.release()
            raise
        self._outbox.append(job)
        if len(self._outbox) == 1:
            # What this turn of the loop gives in goes over at once: one wake-up of the
            # thread, one transaction, where handing over singly would make two.
            self._running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._outbox:
            self._jobs.put(self._outbox)
            self._outbox = []

    def _told(self, results: Sequence[_Result]) -> None:
        for done, value, error in results:
            self._room.release()
            if done.cancelled():
                continue
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

    # ---- on the thread

    def _run(self) -> None:
        waiting: deque[_Job] = deque()
        while waiting or self._refill(waiting):
            job = waiting.popleft()
            if isinstance(job, _Call):
                results = [self._called(job)]
            else:
                results = self._committed(job, waiting)
            assert self._loop is not None
            # One wake-up of the loop for the whole group.
            self._loop.call_soon_threadsafe(self._told, results)
        self._transactor.close()
        self._lock.close()

    def _refill(self, waiting: deque[_Job]) -> bool:
        """Wait for the next hand-over; False at the end."""
        waiting.extend(self._jobs.get())
        return bool(waiting)

    def _gathered(self, first: _Unit, waiting: deque[_Job]) -> list[_Unit]:
        """Take the units that wait, up to the bounds or the next call."""
        while not self._jobs.empty():
            jobs = self._jobs.get_nowait()
            if jobs is _STOP:
                self._jobs.put(_STOP)  # after what waits
                break
            waiting.extend(jobs)
        group, rows, octets = [first], first.rows, first.octets
        while waiting and isinstance(job := waiting[0], _Unit):
            rows, octets = rows + job.rows, octets + job.octets
            if rows > self._options.group_rows or octets > self._options.group_octets:
                break
            group.append(job)
            waiting.popleft()
        return group

    def _committed(self, first: _Unit, waiting: deque[_Job]) -> list[_Result]:
        """Commit it, with what came by the time that no other process writes."""
        group, began = [first], time.monotonic()
        try:
            with self._lock:
                group = self._gathered(first, waiting)
                error = self._transactor.commit([unit.asked for unit in group])
        except Exception as fault:  # noqa: BLE001 - the lock's: told to who waits
            error = fault
        finally:
            if self._on_commit is not None:
                self._on_commit(time.monotonic() - began)
        if error is None or len(group) == 1 or not is_guilty(error):
            failure = None if error is None else explained(error)
            return [(unit.done, None, failure) for unit in group]
        # Somebody's claim was lost, say: only who is guilty may fail. Others write between.
        return [self._alone(unit) for unit in group]

    def _alone(self, unit: _Unit) -> _Result:
        # Who waits for the lock is woken when it is let go, and comes too late where it
        # is taken again at once.
        try:
            time.sleep(_GIVING_WAY)
            with self._lock:
                error = self._transactor.commit([unit.asked])
        except Exception as fault:  # noqa: BLE001 - as above
            error = fault
        return unit.done, None, None if error is None else explained(error)

    def _called(self, call: _Call) -> _Result:
        try:
            with self._lock:
                return call.done, self._transactor.run(call.function), None
        except SQLAlchemyError as error:
            return call.done, None, explained(error)
        except Exception as error:  # noqa: BLE001 - the caller's own, raised there
            return call.done, None, error


class _Transactor:
    """Write transactions on one connection, which is replaced when it breaks. Whoever
    calls holds the writers' lock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runner = Runner(engine.dialect)
        self._connection: Connection | None = None

    def commit(self, units: Sequence[Unit]) -> Exception | None:
        """Commit all of `units` or nothing; return the driver's or our own error."""
        batches = merged(units)
        steps = [one for unit in units for one in unit if isinstance(one, Step)]

        def work(connection: Connection) -> None:
            self._runner.run(connection, batches)
            for step in steps:
                step.act(connection)

        try:
            self.run(work)
        except Exception as error:  # noqa: BLE001 - reported to those who wait
            return error
        return None

    def run(self, function: Callable[[Connection], T]) -> T:
        try:
            connection = self._connected()
            with connection.begin():
                return function(connection)
        except Exception as error:
            if not is_guilty(error):
                self.close()  # after a failed sync nothing of it is to be trusted
            raise

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._engine.connect()
            self._connection = connection.execution_options(**{WRITES: True})
        return self._connection

    def close(self) -> None:
        """Give the connection up; the next transaction opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def write_now(engine: Engine, function: Callable[[Connection], T]) -> T:
    """Run `function` in one write transaction here and now, under the writers' lock.

    For the CLI, which has no loop. Raises StoreError for SQLAlchemy's errors.
    """
    try:
        with closing(WriteLock(engine)) as lock, lock, engine.connect() as connection:
            writing = connection.execution_options(**{WRITES: True})
            with writing.begin():
                return function(writing)
    except _OF_THE_STORE as error:
        raise explained(error) from error


def read_now(engine: Engine, function: Callable[[Connection], T]) -> T:
    """Run `function` on one snapshot. Raises StoreError for SQLAlchemy's errors."""
    try:
        with engine.connect() as connection:
            return function(connection)
    except _OF_THE_STORE as error:
        raise explained(error) from error


def touch(connection: Connection) -> None:
    """Write something that changes nothing: its commit proves that others will do."""
    connection.execute(_TOUCH)


_TOUCH = update(identity_generation).values(generation=identity_generation.c.generation)
