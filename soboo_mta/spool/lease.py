"""A worker's right to work: one row, one number, one epoch, renewed twice a second.

Claims and capacity shares name (worker, epoch). The row lives by a clock that all workers
share: PostgreSQL's, or on SQLite this host's monotonic one, which no administrator sets.
The worker counts on its own monotonic clock, from before each renewal and less a margin,
so that it stops before anybody may take over. A buried lease's epoch is raised: it cannot
come back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from soboo_mta.mail.ids import MAX_WORKER_NUMBER
from soboo_mta.ports import Clock
from soboo_mta.store.schema import capacity, message, piece, worker
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer

_FUTURE_LEASES = 10  # one that ends later than so many lengths: the clock began anew


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOptions:
    """How long a silent worker keeps its work."""

    length: timedelta = timedelta(seconds=4)
    """A lease not renewed for so long is over: others take the work, within 5 s. A disk
    that stands still for two seconds must not cost it."""
    margin: timedelta = timedelta(seconds=1.5)
    """No attempt and no final dot within so long of the end."""
    renew_every: timedelta = timedelta(seconds=0.5)
    """How often the daemon renews."""

    @property
    def length_ms(self) -> int:
        return int(self.length.total_seconds() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """One worker whose lease holds; `acknowledged` is its identity generation."""

    number: int
    epoch: int
    host: str
    process: int
    acknowledged: int
    started_at: int  # unix ms
    lease_until: int  # ms, by `lease_time`


def lease_time(connection: Connection, clock: Clock) -> int:
    """Return the present in ms, by the clock that leases on this store live by."""
    if connection.dialect.name == "postgresql":
        seconds = connection.scalar(
            select(func.extract("epoch", func.clock_timestamp()))
        )
        return int((seconds or 0) * 1000)
    return int(clock.monotonic() * 1000)


class WorkerLease:
    """The lease of this process's worker. Register first, renew on time, release last.

    `store_now` replaces the store's clock (tests).
    """

    def __init__(
        self,
        *,
        writer: Writer,
        clock: Clock,
        options: LeaseOptions | None = None,
        store_now: Callable[[Connection], int] | None = None,
    ) -> None:
        self.options = options or LeaseOptions()
        self._writer = writer
        self._clock = clock
        self._store_now = store_now or (lambda c: lease_time(c, clock))
        self._until = float("-inf")  # monotonic
        self._is_given_up = False
        self.number = -1
        self.epoch = -1
        self.floor = 0
        """The largest message id in the store at registration: for `MessageIds`."""

    async def register(self, *, host: str, process: int) -> None:
        """Take a free number and a new epoch; StoreError when all numbers are taken.

        May be called again after the lease was lost.
        """
        before = self._clock.monotonic()
        number, epoch, floor = await self._writer.transact(
            lambda connection: self._take(connection, host, process)
        )
        self.number, self.epoch, self.floor = number, epoch, floor
        self._until = before + self.options.length.total_seconds()
        self._is_given_up = False

    async def renew(self, acknowledged: int) -> bool:
        """Lengthen the lease and report the generation; False: it is lost for good.

        After False nothing is held any more until `register`. StoreError means that
        nothing is known: the lease runs on to its end.
        """
        if self._is_given_up:
            await self.release()
            return False
        before = self._clock.monotonic()
        epoch = self.epoch
        renewed = await self._writer.transact(
            lambda connection: self._lengthen(connection, epoch, acknowledged)
        )
        if epoch == self.epoch and not self._is_given_up:
            length = self.options.length.total_seconds()
            self._until = before + length if renewed else float("-inf")
        return renewed and not self._is_given_up

    def now(self, connection: Connection) -> int:
        """Return the present in ms, by the clock that leases on this store live by."""
        return self._store_now(connection)

    def give_up(self) -> None:
        """Hold nothing from now on; the next renewal ends the lease.

        For a worker that may have claims it does not know of, or forgets some that it
        has: under a lease that goes on they would never come due again.
        """
        self._until = float("-inf")
        self._is_given_up = True

    async def release(self) -> None:
        """Give the lease up: what is still claimed under it is taken over at once."""
        self._until = float("-inf")
        number, epoch = self.number, self.epoch
        await self._writer.transact(
            lambda connection: _bury(
                connection, worker.c.number == number, worker.c.epoch == epoch
            )
        )

    @property
    def is_held(self) -> bool:
        """Whether the lease holds, less the margin: by our own monotonic clock."""
        margin = self.options.margin.total_seconds()
        return self._clock.monotonic() < self._until - margin

    @property
    def may_start_attempt(self) -> bool:
        """Whether an attempt may begin, or a final dot be sent, now."""
        return self.is_held

    @property
    def seconds_left(self) -> float:
        """How long `is_held` stays true without a renewal; 0 when it is not."""
        margin = self.options.margin.total_seconds()
        return max(0.0, self._until - margin - self._clock.monotonic())

    async def live_workers(self) -> tuple[LiveWorker, ...]:
        """Return the workers whose leases hold by the store's clock, by number."""
        return await self._writer.read(
            lambda connection: live_workers(connection, self._store_now(connection))
        )

    def has_dead(self, connection: Connection) -> bool:
        """Whether a lease ran out and was not buried yet."""
        now = self._store_now(connection)
        return (
            connection.execute(select(worker.c.number).where(*self._dead(now))).first()
            is not None
        )

    def _dead(self, now: int) -> tuple[ColumnElement[bool], ...]:
        latest = now + _FUTURE_LEASES * self.options.length_ms
        until = worker.c.lease_until
        return until > 0, or_(until <= now, until > latest)

    def bury_dead(self, connection: Connection) -> int:
        """End the leases that ran out, so that they cannot be renewed; return the time.

        In a write transaction, before the dead's work is touched: a renewal under way
        either is seen here or sees this.
        """
        now = self._store_now(connection)
        _bury(connection, *self._dead(now))
        return now

    def is_alive(self, connection: Connection, number: int, epoch: int) -> bool:
        """Whether (number, epoch) has not been buried, as the store knows it."""
        found = connection.scalar(_EPOCH, {"this": number})
        return found == epoch

    def _take(
        self, connection: Connection, host: str, process: int
    ) -> tuple[int, int, int]:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(0x50B01)))
        now = self.bury_dead(connection)
        rows = {row.number: row for row in connection.execute(_ALL)}
        free = next(
            (
                number
                for number in range(MAX_WORKER_NUMBER + 1)
                if number not in rows or rows[number].lease_until == 0
            ),
            None,
        )
        if free is None:
            raise StoreError(f"all {MAX_WORKER_NUMBER + 1} worker numbers are taken")
        started_at = self._clock.unix_ms()
        epoch = started_at
        if free in rows:
            epoch = max(epoch, rows[free].epoch + 1)
        facts = {
            "epoch": epoch,
            "lease_until": now + self.options.length_ms,
            "started_at": started_at,
            "host": host,
            "process": process,
            "acknowledged": 0,
        }
        if free in rows:
            this = worker.c.number == free
            connection.execute(update(worker).where(this).values(facts))
        else:
            connection.execute(insert(worker).values(number=free, **facts))
        floor = max(connection.scalar(query) or 0 for query in _LARGEST)
        return free, epoch, floor

    def _lengthen(self, connection: Connection, epoch: int, acknowledged: int) -> bool:
        now = self._store_now(connection)
        done = connection.execute(
            _LENGTHEN,
            {
                "this": self.number,
                "under": epoch,
                "now": now,
                "lease_until": now + self.options.length_ms,
                "acknowledged": acknowledged,
            },
        )
        return done.rowcount == 1


def live_workers(connection: Connection, now: int) -> tuple[LiveWorker, ...]:
    """Return the workers whose leases hold at `now` (the store's clock), by number."""
    return tuple(
        LiveWorker(
            number=row.number,
            epoch=row.epoch,
            host=row.host,
            process=row.process,
            acknowledged=row.acknowledged,
            started_at=row.started_at,
            lease_until=row.lease_until,
        )
        for row in connection.execute(_ALL)
        if row.lease_until > now
    )


def _bury(connection: Connection, *which: ColumnElement[bool]) -> None:
    buried = connection.execute(
        update(worker).where(*which).values(lease_until=0, epoch=worker.c.epoch + 1)
    )
    if buried.rowcount:
        connection.execute(_FORGET_SHARES)


_ALL = select(worker).order_by(worker.c.number)
_EPOCH = select(worker.c.epoch).where(worker.c.number == bindparam("this"))
_LARGEST = (select(func.max(message.c.id)), select(func.max(piece.c.message_id)))
_LENGTHEN = (
    update(worker)
    .where(
        worker.c.number == bindparam("this"),
        worker.c.epoch == bindparam("under"),
        worker.c.lease_until > bindparam("now"),
    )
    .values(
        lease_until=bindparam("lease_until"), acknowledged=bindparam("acknowledged")
    )
)
_FORGET_SHARES = delete(capacity).where(
    exists().where(
        worker.c.number == capacity.c.worker, worker.c.epoch > capacity.c.epoch
    )
)
