"""Look-ups of destinations for those that wait for them: one at a time for each goal."""

import asyncio
from collections.abc import Callable, Coroutine

from soboo_mta.transfer.classify import INTERNAL
from soboo_mta.transfer.routing.finder import Destination, Goal, SiteFinder

_Then = Callable[[Destination], None]


class Seeker:
    """`start` runs a look-up's task; so many run at a time, the others wait."""

    def __init__(
        self,
        finder: SiteFinder,
        *,
        look_ups: int,
        start: Callable[[Coroutine[None, None, None], str], None],
    ) -> None:
        self._finder = finder
        self._start = start
        self._free = asyncio.Semaphore(look_ups)
        self._waiting: dict[Goal, list[_Then]] = {}

    def __len__(self) -> int:
        """How many goals are being looked up."""
        return len(self._waiting)

    def find(self, goal: Goal, then: _Then) -> None:
        """Call `then` with the destination: now where it is known, else once it is."""
        destination = self._finder.cached(goal)
        if destination is not None:
            then(destination)
        elif goal in self._waiting:
            self._waiting[goal].append(then)
        else:
            self._waiting[goal] = [then]
            self._start(self._seek(goal), f"look-up of {goal}")

    async def _seek(self, goal: Goal) -> None:
        destination: Destination = INTERNAL
        try:
            async with self._free:
                destination = await self._finder.find(goal)
        finally:
            for then in self._waiting.pop(goal):
                then(destination)
