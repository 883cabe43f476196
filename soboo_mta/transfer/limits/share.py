"""A ready queue's part of its place's connections, leased in this worker's name."""

import asyncio
import logging
from datetime import timedelta

from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.ready.street import Capacity

_log = logging.getLogger(__name__)


class Share:
    """`held` connections of at most `limit`; `owed` of them go back when a line ends."""

    def __init__(
        self,
        capacity: Capacity,
        place: tuple[str, str],
        *,
        limit: int,
        ask_again: timedelta,
        epoch: int,
    ) -> None:
        self.place = place
        self.limit = limit
        self.held = 0
        self.owed = 0
        self._capacity = capacity
        self._ask_again = ask_again.total_seconds()
        self._epoch = epoch
        self._ask_from = 0.0  # for more, once some was not granted

    def owe(self, surplus: int) -> int:
        """Owe `surplus` of what is held to other workers; return how many."""
        self.owed = min(surplus, self.held)
        return self.owed

    def is_owed_by(self, lines: int) -> bool:
        """Whether one of `lines` connections has to end so that it can be returned."""
        return self.owed > self.held - lines

    async def take(self, wanted: int) -> None:
        """Ask for what is wanted now; where nobody waits, for as much again at once."""
        now = asyncio.get_running_loop().time()
        if now < self._ask_from:
            return
        wanted = min(wanted, self.limit - self.held)
        spare = min(max(0, self.held - wanted), self.limit - self.held - wanted)
        granted = 0
        try:
            granted = await self._capacity.take(
                *self.place, wanted, self.limit, spare=spare, epoch=self._epoch
            )
        except StoreError as error:  # as if denied: asked again soon
            _log.warning("cannot take capacity yet: %s", error)
        self.held += granted
        if granted < wanted:
            self._ask_from = now + self._ask_again

    async def pay_back(self, lines: int) -> None:
        """Return of what is owed what no line uses."""
        back = min(self.owed, self.held - lines)
        self.owed -= max(0, back)
        await self.give_back(back)

    async def give_back(self, connections: int) -> None:
        if connections <= 0:
            return
        self.held -= connections
        try:
            await self._capacity.give_back(*self.place, connections, epoch=self._epoch)
        except StoreError:
            return  # it returns with this worker's lease
