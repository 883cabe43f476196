"""What befalls a relay that runs: each fault happens to a campaign and is over when its
function returns. Which of them there are depends on the store and the workers."""

import asyncio
import os
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from pathlib import Path
from typing import Protocol

from soboo_mta.cli.trial.world import World, WorldError
from soboo_mta.spool.lease import LeaseOptions
from tests.chaos.campaign import Campaign, Fault
from tests.chaos.sender import keep_coming
from tests.chaos.small_disk import fill
from tests.chaos.stopped import stopped

PAST_THE_LEASE = LeaseOptions().length.total_seconds() + 1.5
_LONG = 30.0  # seconds without a store
_IN_WANT = 100  # clients for whom there is no descriptor
_SPARE = 3  # descriptors that a process is left
_PATIENCE = 60.0
_COME_AGAIN = ("452 4.3.1", "451 4.3.0")  # for want of space


class Store(Protocol):
    """What a campaign's store can be made to do; `url` is where it is."""

    url: str
    disk: Path | None

    def away(self) -> AbstractAsyncContextManager[None]: ...


def faults(store: Store, workers: int) -> Mapping[str, Fault]:
    """All faults that there are with this store and so many workers, by name."""

    async def store_away(campaign: Campaign) -> None:
        is_second = campaign.hits["the store away"] == 1  # there is one in `make chaos`
        async with store.away():  # the time itself is the fault
            await asyncio.sleep(_LONG if is_second else PAST_THE_LEASE)

    found: dict[str, Fault] = {
        "a process stopped past its lease": _stopped_past_its_lease,
        "no descriptors": _no_descriptors,
        "reload": _reload,
        "the store away": store_away,
    }
    if store.disk is not None:
        found["disk full"] = _disk_full(store.disk)
    if workers:
        found["a worker killed"] = _worker_killed
        found["the supervisor killed"] = _supervisor_killed
    else:
        found["killed at any moment"] = _relay_killed
    return found


# ---- processes


async def _worker_killed(campaign: Campaign) -> None:
    os.kill(campaign.random.choice(children(campaign.place)), signal.SIGKILL)


async def _relay_killed(campaign: Campaign) -> None:
    await campaign.place.stop_relay(signal.SIGKILL)
    await campaign.place.start_relay()


async def _supervisor_killed(campaign: Campaign) -> None:
    """Its orphans drain; until they let the port go, no other can start."""
    place = campaign.place
    await place.stop_relay(signal.SIGKILL)

    async def starts() -> bool:
        logged = len(place.relay_log())
        try:
            await place.start_relay()  # an orphan may be who answers
        except WorldError:
            return False
        while not _is_ready(place, logged):
            if place.relay is None or place.relay.returncode is not None:
                return False
            await asyncio.sleep(0.05)
        return True

    await place.until("it starts again", starts, _PATIENCE)


async def _stopped_past_its_lease(campaign: Campaign) -> None:
    place = campaign.place
    assert place.relay is not None
    process = campaign.random.choice(children(place) or [place.relay.pid])
    async with stopped(place, process):
        await asyncio.sleep(PAST_THE_LEASE)  # as above


async def _reload(campaign: Campaign) -> None:
    place = campaign.place
    assert place.relay is not None
    logged = len(place.relay_log())
    os.kill(place.relay.pid, signal.SIGHUP)

    async def is_done() -> bool:
        return _is_ready(place, logged)

    await place.until("it is reloaded", is_done, _PATIENCE)


def _is_ready(place: World, logged: int) -> bool:
    return '"ready"' in place.relay_log()[logged:]


def children(place: World) -> list[int]:
    """The processes below the relay's first."""
    assert place.relay is not None
    process = place.relay.pid
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(one) for one in text.split()]


# ---- what a process needs


async def _no_descriptors(campaign: Campaign) -> None:
    """More clients than the processes have descriptors for; then they get them back."""
    place = campaign.place
    assert place.relay is not None
    processes = children(place) or [place.relay.pid]
    before = {one: resource.prlimit(one, resource.RLIMIT_NOFILE) for one in processes}
    logged = len(place.relay_log())

    async def is_noticed() -> bool:
        return "Too many open files" in place.relay_log()[logged:]

    async with AsyncExitStack() as clients:
        try:
            wanted = _IN_WANT
            for process, (_, hard) in before.items():
                with suppress(ProcessLookupError, FileNotFoundError):
                    used = [
                        int(one.name) for one in Path(f"/proc/{process}/fd").iterdir()
                    ]
                    limits = (max(used) + 1 + _SPARE, hard)
                    resource.prlimit(process, resource.RLIMIT_NOFILE, limits)
                    wanted += limits[0] - len(used)
            for _ in range(wanted):
                _, writer = await asyncio.open_connection("127.0.0.1", place.port)
                clients.callback(writer.close)
            await place.until("it runs out of descriptors", is_noticed, _PATIENCE)
        finally:
            for process, limits in before.items():
                with suppress(ProcessLookupError):  # one that a reload replaced is gone
                    resource.prlimit(process, resource.RLIMIT_NOFILE, limits)


def _disk_full(disk: Path) -> Fault:
    async def disk_full(campaign: Campaign) -> None:
        """Until a client was told to come again: 452, or 451 where SQLite could not even
        grow its shared memory. A log that has grown takes some messages yet."""
        ballast, submitted = disk / "ballast", len(campaign.post.sent)
        life, is_over = len(campaign.lives) - 1, asyncio.Event()
        mails = iter(lambda: campaign.post.mail(life), None)

        async def is_told() -> bool:
            fill(ballast)
            fresh = campaign.post.sent[submitted:]
            return any(mail.reply.startswith(_COME_AGAIN) for mail in fresh)

        # Quickly: a store that held more once has room inside for a while.
        pressing = keep_coming(campaign.place, mails, until=is_over, quickly=1_000)
        async with asyncio.TaskGroup() as group:
            group.create_task(pressing)
            try:
                await campaign.place.until("mail is put off", is_told, _PATIENCE)
            finally:
                ballast.unlink()
                is_over.set()

    return disk_full


# ---- the store


class Embedded:
    """SQLite in the relay's data directory, which may be a small disk of its own."""

    def __init__(self, directory: Path, *, disk: Path | None = None) -> None:
        self._file = directory / "soboo.db"
        self.url = f"sqlite:///{self._file}"
        self.disk = disk

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Somebody else has the file locked, and heeds no lock of ours."""
        connection = sqlite3.connect(
            self._file, _PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            await asyncio.to_thread(connection.execute, "BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()


class Server:
    """A PostgreSQL of the campaign's own; `stop` and `start` are a server's."""

    disk: Path | None = None

    def __init__(
        self, url: str, *, stop: Callable[[], object], start: Callable[[], object]
    ) -> None:
        self.url = url
        self._stop = stop
        self._start = start

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """It is shut down: connections break, new ones are refused."""
        await asyncio.to_thread(self._stop)
        try:
            yield
        finally:
            await asyncio.to_thread(self._start)
