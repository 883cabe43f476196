"""Who is served next: tenants take turns by weight, whatever the one's backlog is. Pure.

Virtual finish times, as in weighted fair queueing with one unit of work a recipient.
"""

from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from soboo_mta.identity.state import Source
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.mail.spooled import Claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One claimed recipient in memory; `since` on the monotonic clock."""

    claimed: Claimed
    weight: int  # of its tenant
    epoch: int  # of the lease it was claimed under
    since: float
    host_tries: int = 0
    source: Source | None = None  # where it leaves from, once that is chosen

    @property
    def domain_id(self) -> DomainId:
        return self.claimed.message.domain_id


class FairQueue:
    """Jobs by tenant; `take` serves the tenant that was served least for its weight."""

    __slots__ = ("_order", "_size", "_tenants", "_turn", "_virtual")

    def __init__(self) -> None:
        self._tenants: dict[TenantId, deque[Job]] = {}
        self._order: list[tuple[float, int, TenantId]] = []  # a heap: finish, turn, who
        self._virtual = 0.0
        self._turn = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def of(self, tenant: TenantId) -> int:
        """How many jobs of the tenant wait."""
        return len(self._tenants.get(tenant, ()))

    def add(self, job: Job) -> None:
        tenant = job.claimed.message.tenant
        waiting = self._tenants.get(tenant)
        if waiting is None:
            self._tenants[tenant] = deque((job,))
            self._enter(tenant, job)
        else:
            waiting.append(job)
        self._size += 1

    def take(self) -> Job | None:
        """Return the next job, or None."""
        if not self._order:
            return None
        finish, _, tenant = heappop(self._order)
        waiting = self._tenants[tenant]
        job = waiting.popleft()
        self._virtual = max(self._virtual, finish)
        self._size -= 1
        if waiting:
            self._enter(tenant, waiting[0], finish)
        else:
            del self._tenants[tenant]
        return job

    def take_of(self, tenant: TenantId) -> list[Job]:
        """Take out and return all jobs of one tenant."""
        jobs = list(self._tenants.pop(tenant, ()))
        self._order = [entry for entry in self._order if entry[2] != tenant]
        heapify(self._order)
        self._size -= len(jobs)
        return jobs

    def clear(self) -> list[Job]:
        """Take out and return all jobs."""
        jobs = [job for waiting in self._tenants.values() for job in waiting]
        self._tenants.clear()
        self._order.clear()
        self._size = 0
        return jobs

    def _enter(self, tenant: TenantId, job: Job, finish: float = 0.0) -> None:
        self._turn += 1
        start = max(self._virtual, finish)
        heappush(self._order, (start + 1 / job.weight, self._turn, tenant))
