"""Bounds and habits of the whole room, put together from those of its parts."""

from dataclasses import dataclass, field
from datetime import timedelta

from soboo_mta.transfer.answers.troubles import Rests
from soboo_mta.transfer.departure import DepartureOptions
from soboo_mta.transfer.limits.groups import Rate
from soboo_mta.transfer.ready.street import ReadyOptions
from soboo_mta.transfer.routing.finder import ResolveOptions
from soboo_mta.transfer.routing.pools import Pools
from soboo_mta.transfer.schedule import RetrySchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """Bounds and habits of the whole room."""

    resolve: ResolveOptions = field(default_factory=ResolveOptions)
    ready: ReadyOptions = field(default_factory=ReadyOptions)
    departure: DepartureOptions = field(default_factory=DepartureOptions)
    retry: RetrySchedule = field(default_factory=RetrySchedule)
    recipients: int = 10_000  # in memory
    octets: int = 256 * 1_048_576  # of content in memory
    tenant_share: float = 0.5  # of `recipients`, for one tenant at most
    claim_batch: int = 500  # recipients claimed at once
    claim_every: timedelta = timedelta(seconds=0.75)
    lookups: int = 100  # destinations looked up at a time
    unsettled: int = 512  # outcomes not yet committed: bounds duplicates after a crash
    interrupted: timedelta = timedelta(seconds=1)  # before what we broke off goes again
    crowded: timedelta = timedelta(seconds=5)  # before we look for room again
    handed_back: timedelta = timedelta(seconds=0.5)  # before another worker may
    rests: Rests = field(default_factory=Rests)
    slow_to: Rate = field(
        default_factory=lambda: Rate(count=60, per=timedelta(minutes=1))
    )
    """Of each tenant or domain whose complaints slow its mail down, in recipients."""
    pools: Pools | None = None  # None: one of all sources
    fence_patience: timedelta = timedelta(seconds=10)  # for departures outdated
