"""Who is served next, when a deferred recipient is tried again, when its life is over.

Pure. Tenants take turns by weight. Expiry is decided after an attempt alone, so a clock
that jumps ahead expires nothing that was not tried once more (RFC 5321 §4.5.4.1).
"""

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush

from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import Claimed

_GREYLIST_CODES = (450, 451)
_GREYLIST_WORDS = ("greylist", "graylist", "grey list", "try again later")
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Waits between attempts. The defaults try four times in the first hour and every
    four hours at the end, as RFC 5321 §4.5.4.1 asks, for five days."""

    steps: tuple[timedelta, ...] = (
        timedelta(minutes=5),
        timedelta(minutes=15),
        timedelta(minutes=30),
        timedelta(hours=1),
        timedelta(hours=2),
        timedelta(hours=4),
    )  # after the first, second, … attempt; the last repeats
    greylisted: timedelta = timedelta(minutes=5)  # after a first greylisting reply
    lifetime: timedelta = timedelta(days=5)  # from acceptance; sets a message's expiry
    jitter: float = 0.2  # up to this share is added to each wait, never taken off


def next_due(
    schedule: RetrySchedule,
    *,
    attempts: int,
    now: int,
    expires_at: int,
    reply: Reply,
    chance: float,
) -> int | None:
    """Return when to try again (unix ms), or None when the lifetime is over.

    `attempts` counts the one just made (at least 1); `chance` is uniform in [0, 1). A
    wait that would end after `expires_at` is cut to it: one last attempt is made then.
    """
    if now >= expires_at:
        return None
    wait = _wait(schedule, attempts, reply)
    due = now + int(wait / _MS * (1 + schedule.jitter * chance))
    return min(due, expires_at)


def soon(now: int, *, after: timedelta, chance: float) -> int:
    """Return `now` plus one to two times `after`: for what was not the message's fault."""
    return now + int(after / _MS * (1 + chance))


def _wait(schedule: RetrySchedule, attempts: int, reply: Reply) -> timedelta:
    if attempts <= 1 and looks_greylisted(reply):
        return schedule.greylisted
    return schedule.steps[min(max(attempts, 1), len(schedule.steps)) - 1]


def looks_greylisted(reply: Reply) -> bool:
    """Whether the reply reads like greylisting (RFC 6647 §2): come back in minutes."""
    if reply.code not in _GREYLIST_CODES:
        return False
    text = reply.text.lower()
    return any(word in text for word in _GREYLIST_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One claimed recipient in memory; `since` on the monotonic clock."""

    claimed: Claimed
    weight: int  # of its tenant
    epoch: int  # of the lease it was claimed under
    since: float
    host_tries: int = 0

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
