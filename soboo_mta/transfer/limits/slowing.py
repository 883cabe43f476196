"""Turns of those whose mail leaves slowly: one a recipient, at one rate over all workers,
whatever their backlog and wherever it goes."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from soboo_mta.spool.operator.orders import Slowed
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.limits.groups import Rate

_log = logging.getLogger(__name__)
_Waits = tuple[timedelta, ...] | None


class Lines(Protocol):
    """Turns in lines (spool.capacity)."""

    async def turns_in_line(
        self,
        place: str,
        interval: timedelta,
        *,
        within: Sequence[timedelta],
        epoch: int,
    ) -> _Waits: ...


def _a_future() -> "asyncio.Future[_Waits]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class _Asked:
    """Who asks for turns of one line meanwhile, and what they are told."""

    within: list[timedelta] = field(default_factory=list)
    waits: "asyncio.Future[_Waits]" = field(default_factory=_a_future)


class Slowing:
    """Gives out turns; none is kept here, for the next may be another worker's. Who asks
    while others are told is told with all that do, in one transaction: a backlog that is
    slowed must not hold up who accepts mail."""

    def __init__(self, lines: Lines, rate: Rate) -> None:
        self._lines = lines
        self._rate = rate
        self._asking: dict[tuple[str, int], _Asked] = {}
        self._told = asyncio.Lock()

    async def turn(
        self, whose: Slowed, *, within: timedelta, epoch: int
    ) -> timedelta | None:
        """Take the next turn where it comes within that time; return how long until it
        does. None: the lease is not held, or the store is away."""
        line = (whose.line, epoch)
        asked = self._asking.get(line)
        is_first = asked is None
        if asked is None:
            asked = self._asking[line] = _Asked()
        place = len(asked.within)
        asked.within.append(within)
        if is_first:
            await self._ask(line, asked)
        waits = await asyncio.shield(asked.waits)
        return None if waits is None else waits[place]

    async def _ask(self, line: tuple[str, int], asked: _Asked) -> None:
        waits = None
        try:
            async with self._told:
                del self._asking[line]  # who comes now is told next
                waits = await self._lines.turns_in_line(
                    line[0], self._rate.interval, within=asked.within, epoch=line[1]
                )
        except StoreError as error:
            _log.warning("cannot take turns yet: %s", error)
        finally:
            if self._asking.get(line) is asked:
                del self._asking[line]
            asked.waits.set_result(waits)
