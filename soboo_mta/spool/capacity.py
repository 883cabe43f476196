"""Shares of a site's connection limit, leased to workers: together never over the limit.

A worker takes what it needs and gives it back when idle; a dead worker's share returns
with the burial of its lease. Where the limit is too small for all, what a worker did not
get stands in its row, and who has more than its fair share gives up the difference. The
hot path asks no shared counter.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.spool.lease import WorkerLease
from soboo_mta.store.schema import capacity, pace, worker
from soboo_mta.store.writer import Writer

_FAR = 100_000  # turns: no live workers have leased so many ahead
LONGEST_LINE: Final = timedelta(days=30)
Place = tuple[str, str]  # site, egress source
_US: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's connections to a place, and how many more it waits for."""

    held: int
    unmet: int = 0

    @property
    def demand(self) -> int:
        return self.held + self.unmet


class Capacity:
    """This worker's shares, per (site, egress source)."""

    def __init__(self, *, writer: Writer, lease: WorkerLease) -> None:
        self._writer = writer
        self._lease = lease

    async def take(
        self,
        site: str,
        source: str,
        wanted: int,
        limit: int,
        *,
        spare: int = 0,
        epoch: int,
    ) -> int:
        """Lease up to `wanted` more connections, `spare` besides where no other worker
        is in want; return how many were granted. What is missing is waited for.

        The shares of all live workers for (site, source) stay within `limit`. 0 where the
        lease is not held, or is another than that of `epoch`.
        """
        number, mine = self._lease.number, self._lease.epoch
        if wanted <= 0 or epoch != mine or not self._lease.is_held:
            return 0

        def grant(connection: Connection) -> int:
            _alone(connection, site, source)
            self._lease.bury_dead(connection)
            if not self._lease.is_alive(connection, number, epoch):
                return 0
            shares = _shares_at(connection, site, source)
            granted = granting(shares, number, wanted=wanted, spare=spare, limit=limit)
            before = shares.get(number, Share(0))
            now = Share(before.held + granted, max(0, wanted - granted))
            if now != before:
                _keep(connection, (site, source), (number, epoch), now)
            return granted

        return await self._writer.transact(grant)

    async def give_back(
        self, site: str, source: str, connections: int, *, epoch: int
    ) -> None:
        """Return `connections` of what was taken under `epoch`, and wait for no more;
        nothing where that lease was lost: its shares went with it."""
        mine = {
            "at": site,
            "via": source,
            "this": self._lease.number,
            "under": epoch,
        }

        def take_off(connection: Connection) -> None:
            _alone(connection, site, source)
            connection.execute(_TAKE_OFF, {**mine, "less": connections})
            connection.execute(_EMPTY, mine)

        await self._writer.transact(take_off)

    async def turns(
        self, site: str, source: str, wanted: int, interval: timedelta, *, epoch: int
    ) -> float | None:
        """Lease `wanted` turns to begin a transaction, each `interval` after the one
        before; return the seconds until the first. None where the lease is not held, or is
        another than that of `epoch`.

        The turns of all workers for (site, source) are at least `interval` apart.
        """
        number, mine = self._lease.number, self._lease.epoch
        if epoch != mine or not self._lease.is_held:
            return None
        step = interval // timedelta(microseconds=1)

        def lease(connection: Connection) -> float | None:
            _alone(connection, site, source)
            if not self._lease.is_alive(connection, number, epoch):
                return None
            now = self._lease.now(connection) * 1_000
            where = {"at": site, "via": source}
            known = connection.scalar(_NEXT_TURN, where) or 0
            # One that is far off was set by a clock that began anew: a host's start.
            first = max(now, known) if known < now + _FAR * max(1, step) else now
            row = {"site": site, "source": source, "next_at": first + wanted * step}
            connection.execute(_SET_TURN, row)
            return (first - now) / 1_000_000

        return await self._writer.transact(lease)

    async def turns_in_line(
        self,
        place: str,
        interval: timedelta,
        *,
        within: Sequence[timedelta],
        epoch: int,
    ) -> tuple[timedelta, ...] | None:
        """Lease the next turns of a line, for each that asks one where it comes within its
        time; return how long until they do. A later one is told and not taken. None as
        `turns` has it.

        No turn is LONGEST_LINE away: one that is was left by a clock that began anew.
        """
        number, mine = self._lease.number, self._lease.epoch
        if epoch != mine or not self._lease.is_held:
            return None

        def lease(connection: Connection) -> tuple[timedelta, ...] | None:
            _alone(connection, place, "")
            if not self._lease.is_alive(connection, number, epoch):
                return None
            now = self._lease.now(connection) * 1_000
            known = connection.scalar(_NEXT_TURN, {"at": place, "via": ""}) or 0
            first = max(now, known) if known <= now + LONGEST_LINE // _US else now
            found = in_line((first - now) * _US, interval, within)
            row = {"site": place, "source": "", "next_at": now + found[-1] // _US}
            connection.execute(_SET_TURN, row)
            return found[:-1]

        return await self._writer.transact(lease)

    async def contested(self) -> dict[Place, dict[int, Share]]:
        """Return the shares of all live workers at places where one of them waits."""
        rows = await self._writer.read(lambda at: at.execute(_CONTESTED).all())
        places: dict[Place, dict[int, Share]] = {}
        for row in rows:
            shares = places.setdefault((row.site, row.source), {})
            shares[row.worker] = Share(row.connections, row.unmet)
        return places

    def surplus(self, shares: Mapping[int, Share], limit: int) -> int:
        """Return how many of this worker's connections are another's by right."""
        number = self._lease.number
        mine = shares.get(number, Share(0))
        return max(0, mine.held - fair_share(shares, number, limit))


def in_line(
    wait: timedelta, interval: timedelta, within: Sequence[timedelta]
) -> tuple[timedelta, ...]:
    """Return how long each waits for the next turn, which it takes where that comes within
    its time; and last, how long the one after them would. Pure."""
    waits = []
    for longest in within:
        waits.append(wait)
        if wait <= min(longest, LONGEST_LINE):
            wait += interval
    return (*waits, wait)


def granting(
    shares: Mapping[int, Share], number: int, *, wanted: int, spare: int, limit: int
) -> int:
    """Return how many more connections worker `number` gets. Pure."""
    mine = shares.get(number, Share(0))
    free = limit - sum(share.held for share in shares.values())
    others_wait = any(share.unmet for who, share in shares.items() if who != number)
    if not others_wait:
        return max(0, min(wanted + spare, free))
    fair = fair_share({**shares, number: Share(mine.held, wanted)}, number, limit)
    return max(0, min(wanted, free, fair - mine.held))


def fair_share(shares: Mapping[int, Share], number: int, limit: int) -> int:
    """Return what of `limit` is due to worker `number`: all that it asks for where that
    is little, else as much as any other gets (max-min fairness). Pure."""
    left = limit
    ascending = sorted((share.demand, who) for who, share in shares.items())
    for place, (demand, who) in enumerate(ascending):
        even = -(-left // (len(ascending) - place))
        due = min(demand, even)
        if who == number:
            return due
        left -= due
    return 0


def shares(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Return (site, connections leased for it to live workers), the largest first."""
    return tuple((row.site, row.leased) for row in connection.execute(_LEASED))


def _alone(connection: Connection, site: str, source: str) -> None:
    # PostgreSQL runs us beside each other; a sum needs the others to wait.
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b(f"{site}\0{source}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _shares_at(connection: Connection, site: str, source: str) -> dict[int, Share]:
    rows = connection.execute(_SHARES_AT, {"at": site, "via": source})
    return {row.worker: Share(row.connections, row.unmet) for row in rows}


def _keep(
    connection: Connection, place: Place, holder: tuple[int, int], share: Share
) -> None:
    (site, source), (number, epoch) = place, holder
    connection.execute(
        _KEEP,
        {
            "site": site,
            "source": source,
            "worker": number,
            "epoch": epoch,
            "connections": share.held,
            "unmet": share.unmet,
        },
    )


_LIVE = and_(worker.c.number == capacity.c.worker, worker.c.epoch == capacity.c.epoch)
_AT = and_(capacity.c.site == bindparam("at"), capacity.c.source == bindparam("via"))
_MINE = and_(
    _AT, capacity.c.worker == bindparam("this"), capacity.c.epoch == bindparam("under")
)
_SHARES = select(
    capacity.c.site,
    capacity.c.source,
    capacity.c.worker,
    capacity.c.connections,
    capacity.c.unmet,
).join(worker, _LIVE)
_SHARES_AT = _SHARES.where(_AT)
_waiting = capacity.alias("waiting")
_CONTESTED = _SHARES.where(
    exists().where(
        _waiting.c.site == capacity.c.site,
        _waiting.c.source == capacity.c.source,
        _waiting.c.unmet > 0,
    )
)
_NEXT_TURN = select(pace.c.next_at).where(
    pace.c.site == bindparam("at"), pace.c.source == bindparam("via")
)
_insert_turn = insert(pace)
_SET_TURN = _insert_turn.on_conflict_do_update(
    index_elements=["site", "source"],
    set_={"next_at": _insert_turn.excluded.next_at},
)
_LEASED = (
    select(capacity.c.site, func.sum(capacity.c.connections).label("leased"))
    .join(worker, _LIVE)
    .group_by(capacity.c.site)
    .order_by(func.sum(capacity.c.connections).desc(), capacity.c.site)
)
_insert = insert(capacity)
_KEEP = _insert.on_conflict_do_update(  # PostgreSQL's form: SQLite's compiler writes the same
    index_elements=["site", "source", "worker"],
    set_={
        "epoch": _insert.excluded.epoch,
        "connections": _insert.excluded.connections,
        "unmet": _insert.excluded.unmet,
    },
)
_TAKE_OFF = (
    update(capacity)
    .where(_MINE)
    .values(connections=capacity.c.connections - bindparam("less"), unmet=0)
)
_EMPTY = delete(capacity).where(_MINE, capacity.c.connections <= 0)
