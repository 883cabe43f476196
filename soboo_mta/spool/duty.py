"""A duty that one process does for all hosts of a store: a lease on its name.

It lives by the clock of workers' leases. It spares work that is done twice, and no more:
whoever stood still may wake up in the middle, so what a duty does must bear two at it.
"""

from datetime import timedelta

from sqlalchemy import Connection, or_, update
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.ports import Clock
from soboo_mta.spool.lease import lease_time
from soboo_mta.store.schema import duty
from soboo_mta.store.writer import Writer

DUTY_LENGTH = timedelta(seconds=10)
"""A duty not renewed for so long is anybody's."""
_LENGTH_MS = int(DUTY_LENGTH.total_seconds() * 1000)
_FUTURE = 10 * _LENGTH_MS  # one that ends later: the clock began anew


class HeldDuty:
    """A duty as one process has it, or tries to; may raise StoreError."""

    def __init__(self, *, writer: Writer, clock: Clock, name: str, holder: str) -> None:
        self._writer = writer
        self._clock = clock
        self._name = name
        self._holder = holder

    async def take(self) -> bool:
        """Take it, or renew it; False where another process has it."""

        def take(at: Connection) -> bool:
            now = lease_time(at, self._clock)
            return take_duty(at, self._name, self._holder, now=now)

        return await self._writer.transact(take)

    async def give_up(self) -> None:
        """Let the next one have it at once."""
        await self._writer.transact(
            lambda at: give_up_duty(at, self._name, self._holder)
        )


def take_duty(connection: Connection, name: str, holder: str, *, now: int) -> bool:
    """Take the duty, or renew it; False where another holder has it. `now` is of
    `lease_time`; `holder` tells processes apart."""
    # PostgreSQL's form: SQLite's compiler writes the same.
    taken = insert(duty).values(name=name, holder=holder, lease_until=now + _LENGTH_MS)
    taken = taken.on_conflict_do_update(
        index_elements=[duty.c.name],
        set_={"holder": holder, "lease_until": now + _LENGTH_MS},
        where=or_(
            duty.c.holder == holder,
            duty.c.lease_until <= now,
            duty.c.lease_until > now + _FUTURE,
        ),
    )
    return connection.execute(taken.returning(duty.c.name)).first() is not None


def give_up_duty(connection: Connection, name: str, holder: str) -> None:
    """Let the next one have it at once; nothing where it is another's already."""
    connection.execute(
        update(duty)
        .where(duty.c.name == name, duty.c.holder == holder)
        .values(lease_until=0)
    )
