"""What only the store knows: how much waits, since when, behind which gates.

Asked at most every few seconds, however many read the metrics; where the store does not
answer, the last figures are told with `soboo_store_up` 0.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import Connection

from soboo_mta.events.outbox.cursors import lost_rows
from soboo_mta.events.outbox.webhooks import WebhookFigures, webhook_figures
from soboo_mta.events.tally.standings import Level, standings
from soboo_mta.identity.standing import Standing
from soboo_mta.ports import Clock
from soboo_mta.spool.capacity import shares
from soboo_mta.spool.lease import lease_time, live_workers
from soboo_mta.spool.view import QueueSize, gates, queue_sizes
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import left_count, standing_counts

_KEPT = timedelta(seconds=10)
_PATIENCE = timedelta(seconds=5)
_NO_WEBHOOKS = WebhookFigures({}, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The store at one moment. `closed` are the reasons of the gates that are shut."""

    queue: tuple[QueueSize, ...] = ()
    closed: tuple[str, ...] = ()
    shares: tuple[tuple[str, int], ...] = ()  # (site, connections)
    domains: Mapping[Standing, int] = field(default_factory=dict)
    dangling: int = 0
    complaints: Mapping[Level, int] = field(default_factory=dict)
    webhooks: WebhookFigures = _NO_WEBHOOKS
    lost_events: int = 0  # rows that no sink had read when they went
    workers: int = 0
    at: int = 0  # unix ms
    is_fresh: bool = False


class StoreFigures:
    """Asks the store, one reading at a time."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._last = Figures()
        self._until = float("-inf")
        self._asking = asyncio.Lock()

    async def now(self) -> Figures:
        """Return figures that are a few seconds old at most, or no longer fresh."""
        async with self._asking:
            if self._clock.monotonic() >= self._until:
                self._last = await self._ask()
                self._until = self._clock.monotonic() + _KEPT.total_seconds()
            return self._last

    async def _ask(self) -> Figures:
        at = self._clock.unix_ms()

        def look(connection: Connection) -> Figures:
            now = lease_time(connection, self._clock)
            return Figures(
                queue=queue_sizes(connection),
                closed=tuple(gate.reason.value for gate in gates(connection)),
                shares=shares(connection),
                domains=standing_counts(connection),
                dangling=left_count(connection),
                complaints=Counter(one.level for one in standings(connection)),
                webhooks=webhook_figures(connection),
                lost_events=lost_rows(connection),
                workers=len(live_workers(connection, now)),
                at=at,
                is_fresh=True,
            )

        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                return await self._writer.read(look)
        except (StoreError, TimeoutError):
            return replace(self._last, workers=0, is_fresh=False)
