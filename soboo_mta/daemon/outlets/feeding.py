"""Reads what happened and hands it on: to the webhooks' queues, or to an operator's sink."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog
from sqlalchemy import Connection

from soboo_mta.events.log import EventLog
from soboo_mta.events.outbox.cursors import (
    WEBHOOKS,
    Cursor,
    Horizon,
    advance,
    begin,
    the_cursor,
)
from soboo_mta.events.outbox.feed import fan_out
from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.events.outbox.source import Batch, read_events
from soboo_mta.ports import Clock
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer

_POLL = 0.5  # seconds
_BETWEEN = 0.02  # seconds between full batches: who accepts mail writes there too
_TROUBLE = timedelta(seconds=5)
_log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where an operator reads the events of all tenants (net.outlets, or a list)."""

    name: str

    def write(self, events: Sequence[ToldEvent]) -> None:
        """Return once they are there to stay; raise OSError. Called on a thread."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class Feeder:
    """Queues events for webhooks. `most` wait for each; `fed` is called when some do."""

    writer: Writer
    clock: Clock
    most: int
    fed: Callable[[], None]
    _horizon: Horizon = field(default_factory=Horizon)

    async def run(self) -> None:
        """Read on until cancelled."""
        await _again_and_again(self._feed)

    async def _feed(self) -> bool:
        def read(at: Connection) -> tuple[Cursor, Batch] | None:
            return _next(at, WEBHOOKS, self._horizon)

        found = await self.writer.read(read)
        if found is None:
            return False
        cursor, batch = found
        if batch.position == cursor.position:
            return False
        now = self.clock.unix_ms()

        def write(at: Connection) -> bool:
            return fan_out(at, batch, cursor.position, now=now, most=self.most)

        if await self.writer.transact(write) and batch.events:
            self.fed()
        return batch.is_full


@dataclass(slots=True, kw_only=True)
class Tail:
    """Writes all events to one of the operator's sinks, from its first start on."""

    writer: Writer
    clock: Clock
    sink: Sink
    _horizon: Horizon = field(default_factory=Horizon)

    async def run(self) -> None:
        """Read on until cancelled; a sink in trouble is tried again."""
        try:
            await _again_and_again(self._tell)
        finally:
            self.sink.close()

    async def _tell(self) -> bool:
        def read(at: Connection) -> tuple[Cursor, Batch] | None:
            return _next(at, self.sink.name, self._horizon)

        found = await self.writer.read(read)
        if found is None:
            await self.writer.transact(self._begin)
            return True
        cursor, batch = found
        told = [one for one in batch.events if one.at >= cursor.since]
        if told:
            try:
                await asyncio.to_thread(self.sink.write, told)
            except OSError as error:
                cause = error.strerror or str(error)
                _log.warning("events_sink_trouble", sink=self.sink.name, cause=cause)
                await asyncio.sleep(_TROUBLE.total_seconds())
                return False
        if batch.position != cursor.position:
            await self.writer.transact(lambda at: advance(at, cursor, batch.position))
        return batch.is_full

    def _begin(self, at: Connection) -> None:
        if the_cursor(at, self.sink.name) is None:
            begin(at, self.sink.name, since=self.clock.unix_ms())


def _next(at: Connection, name: str, horizon: Horizon) -> tuple[Cursor, Batch] | None:
    cursor = the_cursor(at, name)
    if cursor is None:
        return None
    return cursor, read_events(at, cursor.position, horizon.look(at))


async def _again_and_again(step: Callable[[], Awaitable[bool]]) -> None:
    """Take steps until cancelled, at once where the last one found that there is more."""
    while True:
        has_more = False
        try:
            has_more = await step()
        except StoreError as error:
            EventLog().store_trouble(str(error))
        except Exception as error:  # noqa: BLE001 - a task's root: nothing may end it
            EventLog().internal_error(stage="events", error=error)
        await asyncio.sleep(_BETWEEN if has_more else _POLL)
