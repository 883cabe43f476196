"""Turns of those whose mail leaves slowly: one a recipient, at one rate over all workers,
whatever their backlog and wherever it goes."""

import logging
from datetime import timedelta
from typing import Protocol

from soboo_mta.spool.operator.orders import Slowed
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.limits.groups import Rate

_log = logging.getLogger(__name__)


class Lines(Protocol):
    """Turns in lines (spool.capacity)."""

    async def turn_in_line(
        self,
        place: str,
        interval: timedelta,
        *,
        within: timedelta,
        epoch: int,
    ) -> timedelta | None: ...


class Slowing:
    """Gives out turns; nothing is kept here, for the next may be another worker's."""

    def __init__(self, lines: Lines, rate: Rate) -> None:
        self._lines = lines
        self._rate = rate

    async def turn(
        self, whose: Slowed, *, within: timedelta, epoch: int
    ) -> timedelta | None:
        """Take the next turn where it comes within that time; return how long until it
        does. None: the lease is not held, or the store is away."""
        try:
            return await self._lines.turn_in_line(
                whose.line,
                self._rate.interval,
                within=within,
                epoch=epoch,
            )
        except StoreError as error:
            _log.warning("cannot take a turn yet: %s", error)
            return None
