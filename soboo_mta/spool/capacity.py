"""Shares of a site's connection limit, leased to workers: together never over the limit.

A worker takes what it needs and gives it back when idle; a dead worker's share returns
with the burial of its lease. The hot path asks no shared counter.
"""

import hashlib

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from soboo_mta.spool.lease import WorkerLease
from soboo_mta.store.schema import capacity, worker
from soboo_mta.store.writer import Writer


class Capacity:
    """This worker's shares, per (site, egress source)."""

    def __init__(self, *, writer: Writer, lease: WorkerLease) -> None:
        self._writer = writer
        self._lease = lease

    async def take(
        self, site: str, source: str, wanted: int, limit: int, *, epoch: int
    ) -> int:
        """Lease up to `wanted` more connections and return how many were granted.

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
            where = {"at": site, "via": source}
            taken = connection.scalar(_TAKEN, where) or 0
            granted = max(0, min(wanted, limit - taken))
            if granted:
                _add(connection, site, source, number, epoch, granted)
            return granted

        return await self._writer.transact(grant)

    async def give_back(
        self, site: str, source: str, connections: int, *, epoch: int
    ) -> None:
        """Return `connections` of what was taken under `epoch`; nothing where that lease
        was lost: its shares went with it."""
        mine = {
            "at": site,
            "via": source,
            "this": self._lease.number,
            "under": epoch,
        }

        def take_off(connection: Connection) -> None:
            _alone(connection, site, source)
            connection.execute(_ADD, {**mine, "more": -connections})
            connection.execute(_EMPTY, mine)

        await self._writer.transact(take_off)


def _alone(connection: Connection, site: str, source: str) -> None:
    # PostgreSQL runs us beside each other; a sum needs the others to wait.
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b(f"{site}\0{source}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _add(
    connection: Connection,
    site: str,
    source: str,
    number: int,
    epoch: int,
    granted: int,
) -> None:
    mine = {"at": site, "via": source, "this": number, "under": epoch}
    if connection.execute(_ADD, {**mine, "more": granted}).rowcount:
        return
    connection.execute(_STALE, mine)
    connection.execute(
        insert(capacity).values(
            site=site,
            source=source,
            worker=number,
            epoch=epoch,
            connections=granted,
        )
    )


_AT = and_(capacity.c.site == bindparam("at"), capacity.c.source == bindparam("via"))
_MINE = and_(
    _AT, capacity.c.worker == bindparam("this"), capacity.c.epoch == bindparam("under")
)
_TAKEN = (
    select(func.sum(capacity.c.connections))
    .join(
        worker,
        and_(worker.c.number == capacity.c.worker, worker.c.epoch == capacity.c.epoch),
    )
    .where(_AT)
)
_STALE = delete(capacity).where(
    _AT, capacity.c.worker == bindparam("this"), capacity.c.epoch != bindparam("under")
)
_ADD = (
    update(capacity)
    .where(_MINE)
    .values(connections=capacity.c.connections + bindparam("more"))
)
_EMPTY = delete(capacity).where(_MINE, capacity.c.connections <= 0)
