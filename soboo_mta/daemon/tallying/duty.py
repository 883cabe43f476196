"""Counts what was delivered and complained of, and lets complaint rates have their effect.

Of several processes one has it, by a lease. Two at it, after a standstill, count nothing
twice: the cursor moves from where it was read.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from soboo_mta.daemon.tallying.effects import Effects
from soboo_mta.events.log import EventLog
from soboo_mta.events.outbox.cursors import Cursor, Horizon, the_cursor
from soboo_mta.events.tally.counting import (
    CURSOR,
    DAY_MS,
    Count,
    begin_counting,
    keep_count,
    read_count,
)
from soboo_mta.events.tally.standings import Level, Standing, standings
from soboo_mta.events.tally.view import forget_days, sent_since
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.ports import Clock
from soboo_mta.returns.complaints import Thresholds, is_spared, moves, rates
from soboo_mta.spool.duty import HeldDuty
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.transfer.limits.groups import Rate

_EVERY = timedelta(seconds=2)
_BETWEEN = timedelta(milliseconds=20)  # full parts: who accepts mail writes there too
_JUDGE_EVERY = timedelta(minutes=10)  # where nobody complained: days go by
_JUDGE_AGAIN = timedelta(seconds=5)  # at the earliest: sums of days are read for it
_LATE = timedelta(seconds=5)  # workers know by then that a line is over
_KEPT_DAYS = 60  # of the tally
_DUTY = "tally"


@dataclass(slots=True, kw_only=True)
class Tallying:
    """Has the duty while it may."""

    writer: Writer
    clock: Clock
    rules: RuleSet
    thresholds: Thresholds
    slow_to: Rate
    holder: str
    log: EventLog = field(default_factory=EventLog)
    _duty: HeldDuty = field(init=False)
    _effects: Effects = field(init=False)
    _horizon: Horizon = field(default_factory=Horizon)
    _judged_at: float | None = None
    _has_complaints: bool = False
    """Some were counted since."""
    _straightened_at: float | None = None

    def __post_init__(self) -> None:
        self._duty = HeldDuty(
            writer=self.writer, clock=self.clock, name=_DUTY, holder=self.holder
        )
        self._effects = Effects(
            writer=self.writer,
            clock=self.clock,
            log=self.log,
            step=self.slow_to.interval,
        )

    async def run(self) -> None:
        """Count until cancelled; troubles are logged and tried again."""
        try:
            while True:
                pause = _EVERY
                try:
                    if await self._duty.take() and await self.step():
                        pause = _BETWEEN
                except StoreError as error:
                    self.log.store_trouble(str(error))
                except Exception as error:  # noqa: BLE001 - a task's root
                    self.log.internal_error(stage="tally", error=error)
                await asyncio.sleep(pause.total_seconds())
        finally:
            await self._give_up()

    async def step(self) -> bool:
        """Count one part and act on it; True: there is more to count at once."""
        count = await self._count()
        if count is not None and count.is_full:
            return True
        if await self._is_due(count):
            await self._judge()
        await self._straighten()
        return False

    async def _give_up(self) -> None:
        try:
            await self._duty.give_up()
        except StoreError as error:  # then it ends by itself
            self.log.store_trouble(str(error))

    # ---- counting

    async def _count(self) -> Count | None:
        """What was counted; None: nothing could be, yet."""
        found = await self.writer.read(self._read)
        if found is None:
            await self.writer.transact(begin_counting)
            return None
        cursor, count = found
        if count.position == cursor.position:
            return count
        keep = partial(keep_count, cursor=cursor, count=count)
        return count if await self.writer.transact(keep) else None

    def _read(self, at: Connection) -> tuple[Cursor, Count] | None:
        cursor = the_cursor(at, CURSOR)
        if cursor is None:
            return None
        horizon = self._horizon.look(at)
        return cursor, read_count(at, cursor, horizon, self._provider_of)

    def _provider_of(self, host: str) -> str:
        return self.rules.provider_of((host,))

    # ---- what follows

    async def _is_due(self, count: Count | None) -> bool:
        if count is not None and count.complaints:
            self._has_complaints = True
        latest = self._judged_at
        wait = _JUDGE_AGAIN if self._has_complaints else _JUDGE_EVERY
        now = self.clock.monotonic()
        if latest is None or now - latest >= wait.total_seconds():
            return True
        known = await self.writer.read(standings)
        return has_changed_by_sparing(known, now=self.clock.unix_ms())

    async def _judge(self) -> None:
        now = self.clock.unix_ms()
        today = now // DAY_MS

        known = await self.writer.read(standings)
        first = today - self.thresholds.days + 1
        sent = await self.writer.read(lambda at: sent_since(at, first))
        moved = tuple(moves(rates(sent), known, self.thresholds, now=now))
        await self._effects.note([one.now for one in moved if one.is_of_numbers])
        for move in (one for one in moved if not one.is_of_numbers):
            await self._effects.carry_out(move)
            if move.before is Level.SLOW and move.now.level is not Level.SLOW:
                self._look_at_lines_in(_LATE)
        while await self.writer.transact(
            lambda at: forget_days(at, today - _KEPT_DAYS)
        ):
            continue  # others write in between
        self._has_complaints = False
        self._judged_at = self.clock.monotonic()

    async def _straighten(self) -> None:
        latest, now = self._straightened_at, self.clock.monotonic()
        if latest is None or now - latest >= _JUDGE_EVERY.total_seconds():
            await self._effects.straighten()
            self._straightened_at = self.clock.monotonic()

    def _look_at_lines_in(self, wait: timedelta) -> None:
        """Workers that have not read of it yet put more in a line that is over."""
        ago = _JUDGE_EVERY - wait
        self._straightened_at = self.clock.monotonic() - ago.total_seconds()


def has_changed_by_sparing(known: Sequence[Standing], *, now: int) -> bool:
    """Whether an operator spared what does not go yet, or a time of that is over."""
    by_subject = {one.subject: one for one in known}
    return any(
        0 < one.spared_until <= now
        or (one.level.stops and is_spared(one.subject, by_subject, now=now))
        for one in known
    )
