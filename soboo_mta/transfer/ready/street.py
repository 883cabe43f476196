"""What ready queues share: their bounds, and the doors to capacity and to the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Protocol

from soboo_mta.identity.state import Source
from soboo_mta.mail.outcome import Deferred
from soboo_mta.ports import Clock, Connector
from soboo_mta.spool.capacity import Share
from soboo_mta.transfer.answers.troubles import Troubles
from soboo_mta.transfer.departure import Departed, Departures
from soboo_mta.transfer.ready.fair import Job
from soboo_mta.transfer.routing.finder import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyOptions:
    """Bounds of one ready queue."""

    connections: int = 20  # to one site from one source, over all workers
    first_connections: int = 5  # until one of them has delivered
    waiting: int = 2_000  # recipients in one queue; over it they go back to the spool
    idle: timedelta = timedelta(seconds=5)  # a connection without work is closed
    connection_life: timedelta = timedelta(minutes=5)
    transactions: int = 500  # a connection carries at most
    host_rest: timedelta = timedelta(minutes=1)  # a broken host is tried last so long
    denied: timedelta = timedelta(seconds=2)  # without capacity, back to the spool
    ask_again: timedelta = timedelta(milliseconds=250)  # for capacity not granted


class Capacity(Protocol):
    """Shares of a site's connections, leased to this worker (spool.capacity)."""

    async def take(
        self,
        site: str,
        source: str,
        wanted: int,
        limit: int,
        *,
        spare: int = 0,
        epoch: int,
    ) -> int: ...

    async def turns_in_line(
        self,
        place: str,
        interval: timedelta,
        *,
        within: Sequence[timedelta],
        epoch: int,
    ) -> tuple[timedelta, ...] | None: ...

    async def give_back(
        self, site: str, source: str, connections: int, *, epoch: int
    ) -> None: ...

    async def contested(self) -> Mapping[tuple[str, str], Mapping[int, Share]]: ...

    def surplus(self, shares: Mapping[int, Share], limit: int) -> int: ...

    async def turns(
        self, site: str, source: str, wanted: int, interval: timedelta, *, epoch: int
    ) -> float | None: ...


class Desk(Protocol):
    """Where a queue asks and hands in what it came to (the engine)."""

    def owns(self, job: Job, site: Site) -> bool:
        """Whether the job is still this worker's to try there; else it was taken care
        of: its claim lost, held or slowed by an order, or to go elsewhere by one."""
        ...

    def settle(self, job: Job, departed: Departed, host: str) -> None:
        """Settle one recipient; the job leaves memory."""
        ...

    def give_back(self, job: Job) -> None:
        """Return an untried recipient to the spool, due soon; the job leaves memory."""
        ...

    def source_failed(
        self, source: Source, outcome: Deferred, jobs: Sequence[Job]
    ) -> None:
        """The source's address is not there: `jobs` leave from another, or wait."""
        ...

    async def pace(self) -> None:
        """Wait while too much is unsettled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """What all ready queues of an engine share."""

    departures: Departures
    connector: Connector
    capacity: Capacity
    desk: Desk
    troubles: Troubles
    clock: Clock
    random: Random
    options: ReadyOptions
