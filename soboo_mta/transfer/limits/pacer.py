"""When the next transaction may begin, where a rate is set: turns leased in the store.

A second's worth of turns is leased at once; together those of all workers are never closer
than the rate's interval. A turn that was not used in its time is lost, so that a rest is
never followed by a burst.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Protocol

from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.limits.groups import Rate

_log = logging.getLogger(__name__)
_STORE_PAUSE = 1.0  # seconds before the store is asked again
_LINES_FOR = timedelta(seconds=2)  # a transaction takes no longer, as a rule


class Turns(Protocol):
    """Turns at a place (spool.capacity)."""

    async def turns(
        self, site: str, source: str, wanted: int, interval: timedelta, *, epoch: int
    ) -> float | None:
        """Lease `wanted` turns, each `interval` after the one before; return the seconds
        until the first, None where the lease is not held."""
        ...


class Pacer:
    """The turns of one ready queue; times are of the event loop's clock."""

    def __init__(
        self, turns: Turns, place: tuple[str, str], rate: Rate, *, epoch: int
    ) -> None:
        self._turns = turns
        self._place = place
        self._rate = rate
        self._epoch = epoch
        self._interval = rate.interval.total_seconds()
        self._next = 0.0
        self._left = 0
        self._asking = asyncio.Lock()

    @property
    def lines(self) -> int:
        """Connections that the rate keeps busy."""
        return max(1, -(-_LINES_FOR // self._rate.interval))

    async def turn(self, waiting: int) -> float:
        """Return how many seconds from now a transaction may begin, of `waiting` ones;
        the turn is the caller's."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            while not self._left or self._next + self._interval < loop.time():
                await self._lease(min(max(1, waiting), self._rate.at_once))
            at = self._next
            self._next += self._interval
            self._left -= 1
            return max(0.0, at - loop.time())

    async def _lease(self, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        after = None
        try:
            after = await self._turns.turns(
                *self._place, wanted, self._rate.interval, epoch=self._epoch
            )
        except StoreError as error:
            _log.warning("cannot take turns yet: %s", error)
        if after is None:
            await asyncio.sleep(_STORE_PAUSE)
            return
        self._next, self._left = loop.time() + after, wanted
