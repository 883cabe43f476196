"""Which of our link and image hosts answer now: customers are asked for no record before.

The answer is kept for a minute, a watch looks at many domains in that time.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from soboo_mta.identity.state import Operator, Purpose
from soboo_mta.identity.web_hosts import WEB_PURPOSES, hosts_for
from soboo_mta.ports import Clock, WebDoor

KEPT: Final = timedelta(minutes=1)


class Doors:
    """Knocks at the hosts of one operator. Without hosts nothing is asked."""

    def __init__(self, *, door: WebDoor, clock: Clock, kept: timedelta = KEPT) -> None:
        self._door = door
        self._clock = clock
        self._kept = kept
        self._asking = asyncio.Lock()
        self._open: frozenset[Purpose] = frozenset()
        self._until: float | None = None  # monotonic

    async def opened(self, operator: Operator) -> Operator:
        """Return the operator with the doors that are open now."""
        if not any(hosts_for(operator, purpose) for purpose in WEB_PURPOSES):
            return operator
        async with self._asking:  # one knock for all who wait
            if self._until is None or self._clock.monotonic() >= self._until:
                self._open = await self._knock(operator)
                self._until = self._clock.monotonic() + self._kept.total_seconds()
            return replace(operator, open_doors=self._open)

    async def _knock(self, operator: Operator) -> frozenset[Purpose]:
        found = set()
        for purpose in WEB_PURPOSES:
            for host in hosts_for(operator, purpose):
                if await self._door.answers(host):
                    found.add(purpose)
                    break  # one that answers will do: the others stand by
        return frozenset(found)
