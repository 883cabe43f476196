"""Retries wait for times of the wall clock: where that is set back, they wait for less.

A step is seen while this runs. What was deferred in the second before it was seen is tried
early by the step, once. A worker that stood still over the step may write by the time of
before: it is looked for again.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from soboo_mta.events.log import EventLog
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.one import BEGINNING, Place
from soboo_mta.spool.moves.rounds import make_ahead_due, pull_forward
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer

_SURE_WITHIN = 0.05  # seconds between the readings of two clocks
_AGAIN = 1.0  # seconds, while the store is away
_LATER = (timedelta(seconds=10), timedelta(minutes=1))  # a lease is over after four
_log = structlog.get_logger(__name__)


async def watch_clock(
    writer: Writer,
    clock: Clock,
    *,
    every: timedelta = timedelta(seconds=1),
    later: Sequence[timedelta] = _LATER,
) -> None:
    """Look `every` so often, for steps of that length and more, until cancelled; so long
    `later` than a step, for what was written by the time of before."""
    ahead = _ahead(clock)
    looks: list[float] = []
    while True:
        await asyncio.sleep(every.total_seconds())
        before, ahead = ahead, _ahead(clock)
        if before - ahead >= every:
            _log.warning("clock_set_back", seconds=(before - ahead).total_seconds())
            await _pull_all(writer, clock, before - ahead)
            looks = [clock.monotonic() + one.total_seconds() for one in later]
        if looks and looks[0] <= clock.monotonic():
            try:
                await make_ahead_due(writer, now=clock.unix_ms())
                del looks[0]
            except StoreError as error:  # at the next look
                EventLog().store_trouble(str(error))


async def _pull_all(writer: Writer, clock: Clock, step: timedelta) -> None:
    """Each retry once, though the store is away in between."""
    place: Place | None = BEGINNING
    while place is not None:
        try:
            place = await pull_forward(writer, step, now=clock.unix_ms(), after=place)
        except StoreError as error:
            EventLog().store_trouble(str(error))
            await asyncio.sleep(_AGAIN)


def _ahead(clock: Clock) -> timedelta:
    """By how much the wall clock is ahead of the one that is never set."""
    while True:
        began, wall = clock.monotonic(), clock.unix_ms()
        if clock.monotonic() - began < _SURE_WITHIN:  # not stopped in between
            return timedelta(milliseconds=wall) - timedelta(seconds=began)
