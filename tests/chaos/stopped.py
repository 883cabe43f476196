"""A process that does not run for a while: SIGSTOP, then SIGCONT."""

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from soboo_mta.cli.trial.world import World

_PATIENCE = 60.0


@asynccontextmanager
async def stopped(place: World, process: int) -> AsyncIterator[None]:
    """Inside, the process does not run. Not stopped while it holds the write lock: on
    one file nobody could write then, and nobody could take its work over."""
    lock = place.directory / "data" / "soboo.db.lock"

    async def is_stopped() -> bool:
        return _state(process) == "T"

    async def is_stopped_without_the_lock() -> bool:
        os.kill(process, signal.SIGSTOP)
        await place.until("it is stopped", is_stopped, _PATIENCE)
        if not lock.exists():  # PostgreSQL ends what a stopped client holds up
            return True
        with lock.open("rb") as handle:
            for _ in range(50):  # others hold it for moments
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(0.002)
                else:
                    return True
        os.kill(process, signal.SIGCONT)
        return False

    await place.until("it stands still", is_stopped_without_the_lock, _PATIENCE)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _state(process: int) -> str:
    """Its state letter; T only where every thread is stopped."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    states = {
        (task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks
    }
    return states.pop() if len(states) == 1 else ""
