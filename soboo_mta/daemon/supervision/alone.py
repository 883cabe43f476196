"""The one process that does everything (`workers = 0`): its stop and its reload.

At SIGHUP it finishes what is under way and becomes the next run. Its sockets stay bound
meanwhile: clients wait a moment in the kernel's queue.
"""

import asyncio
import os
import signal

import structlog

from soboo_mta.daemon.control import told_to_stop
from soboo_mta.daemon.supervision.notify import (
    tell_ready,
    tell_reloading,
    tell_stopping,
)
from soboo_mta.daemon.supervision.succession import Rehearsal, Succession

_log = structlog.get_logger(__name__)


class Alone:
    """`succeeds`: whether the next run is to follow, once `told` has returned."""

    def __init__(self, succession: Succession) -> None:
        self.succession = succession
        self.succeeds = False

    def ready(self) -> None:
        """Mail is taken."""
        _log.info("ready", processes=1)
        tell_ready()

    async def told(self) -> None:
        """Return at SIGTERM or SIGINT, or at SIGHUP after a rehearsal that went well."""
        stopping = asyncio.create_task(told_to_stop(None))
        reloading = asyncio.create_task(self._reload())
        both = (stopping, reloading)
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        for task in done:
            task.result()
        if not self.succeeds:
            tell_stopping()

    async def _reload(self) -> None:
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        while not self.succeeds:
            await asked.wait()
            asked.clear()
            tell_reloading()
            rehearsal = self.succession.rehearse(())
            code = await _end(rehearsal)
            self.succeeds = not self.succession.is_refused(rehearsal, code)
            if not self.succeeds:
                tell_ready()  # the log has `reload_refused`: nothing new is ready
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # the next run's


async def _end(rehearsal: Rehearsal) -> int:
    """Wait for its exit code; where we are told to stop meanwhile, it ends with us."""
    waiting = asyncio.create_task(asyncio.to_thread(os.waitpid, rehearsal.process, 0))
    try:
        _, status = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        os.kill(rehearsal.process, signal.SIGKILL)
        await waiting
        raise
    return os.waitstatus_to_exitcode(status)
