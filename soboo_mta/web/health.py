"""Whether this host's relay should be sent mail: each thing it needs, and why not.

A check returns "" where all is well, else a sentence. They run together, each for a few
seconds at most, and their result is told for a moment to all who ask.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from soboo_mta.ports import Clock
from soboo_mta.spool.lease import lease_time, live_workers
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer, touch

Check = Callable[[], Awaitable[str]]
_PATIENCE = timedelta(seconds=5)
_KEPT = timedelta(seconds=1)  # a probe writes to the store: not at strangers' pace


@dataclass(frozen=True, slots=True)
class Report:
    """Why each check fails; "" where it does not."""

    reasons: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        return not any(self.reasons.values())


class Readiness:
    """Runs the checks when somebody asks, not more often than once a moment."""

    def __init__(self, checks: Mapping[str, Check], clock: Clock) -> None:
        self._checks = checks
        self._clock = clock
        self._last = Report({})
        self._until = float("-inf")
        self._checking = asyncio.Lock()

    async def report(self) -> Report:
        """Return what the checks say now, or said a moment ago."""
        async with self._checking:
            if self._clock.monotonic() >= self._until:
                found = await asyncio.gather(*map(_in_time, self._checks.values()))
                self._last = Report(dict(zip(self._checks, found, strict=True)))
                self._until = self._clock.monotonic() + _KEPT.total_seconds()
            return self._last


async def _in_time(check: Check) -> str:
    seconds = _PATIENCE.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await check()
    except TimeoutError:
        return f"no answer within {seconds:g} s"


# ---- the checks


def store_is_writable(writer: Writer) -> Check:
    """The store takes a commit, synced."""

    async def check() -> str:
        try:
            await writer.transact(touch)
        except StoreError as error:
            return f"the store does not take a commit: {error}"
        return ""

    return check


def lease_is_held(writer: Writer, clock: Clock, host: str) -> Check:
    """A worker of this host holds its lease."""

    async def check() -> str:
        try:
            workers = await writer.read(
                lambda at: live_workers(at, lease_time(at, clock))
            )
        except StoreError as error:
            return f"the store does not answer: {error}"
        if any(worker.host == host for worker in workers):
            return ""
        return f"no worker on {host} holds a lease"

    return check


def space_is_free(directory: Path, octets: int) -> Check:
    """The data directory's disk has `octets` free."""

    async def check() -> str:
        try:
            free = (await asyncio.to_thread(shutil.disk_usage, directory)).free
        except OSError as error:
            return f"{directory}: {error.strerror}"
        if free >= octets:
            return ""
        return f"{free >> 20} MiB are free in {directory}, {octets >> 20} are wanted"

    return check
