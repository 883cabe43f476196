"""Turns of those whose mail leaves slowly: one a recipient, at one rate over all workers,
whatever their backlog and wherever it goes."""

import logging
from datetime import timedelta

from soboo_mta.spool.operator.orders import Slowed
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.limits.groups import Rate
from soboo_mta.transfer.limits.pacer import Turns

_log = logging.getLogger(__name__)


class Slowing:
    """Gives out turns; nothing is kept here, for the next may be another worker's."""

    def __init__(self, turns: Turns, rate: Rate) -> None:
        self._turns = turns
        self._rate = rate

    async def turn(self, whose: Slowed, *, epoch: int) -> timedelta | None:
        """Take the next turn; return how long until it comes. None: the lease is not held,
        or the store is away."""
        place = f"slowed {whose.scope} {whose.subject}"
        try:
            wait = await self._turns.turns(
                place, "", 1, self._rate.interval, epoch=epoch
            )
        except StoreError as error:
            _log.warning("cannot take a turn yet: %s", error)
            return None
        return None if wait is None else timedelta(seconds=wait)
