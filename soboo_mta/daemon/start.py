"""From the settings to running processes: the store made ready, sockets bound, roles.

Nothing that a fork must not copy (threads, connections, event loops) exists before it.
"""

import gc
import os
from collections.abc import Callable, Coroutine
from functools import partial

import uvloop

from soboo_mta.daemon.control import Control, run_control
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.daemon.supervisor import Supervisor
from soboo_mta.daemon.worker import Worker
from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Listener, SharedTimes
from soboo_mta.settings import Settings
from soboo_mta.settings.sections import ListenerTls
from soboo_mta.store.engine import open_engine
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import upgrade


class StartError(Exception):
    """The relay can't start; the text says what to change."""


def serve(settings: Settings) -> int:
    """Run the relay until it is told to stop; return the exit code.

    Raises StartError, StoreError or SecretError where it can't start.
    """
    set_up_logs(settings.log.level)
    settings.master_key()  # refuses to start without, before anything is bound
    lock = _prepare_store(settings)
    try:
        return _serve(settings, _bind(settings), lock)
    finally:
        lock.leave()


def _serve(settings: Settings, listeners: tuple[Listener, ...], lock: RelayLock) -> int:
    times = SharedTimes()
    if settings.worker_count == 0:
        return _run(partial(_alone, settings, listeners, times))
    roles: dict[str, Callable[[], int]] = {
        f"worker {number}": partial(
            _child, lock, partial(_relay, settings, listeners, times, os.getpid())
        )
        for number in range(1, settings.worker_count + 1)
    }
    roles["control"] = partial(_child, lock, partial(_control, settings, os.getpid()))
    grace = settings.server.stop_within.total_seconds()
    gc.freeze()  # what is loaded by now is shared with the children: never traced
    return Supervisor(roles=roles, grace_seconds=grace).run()


def _prepare_store(settings: Settings) -> RelayLock:
    """Bring the store up, and take it for this relay alone (case 132)."""
    engine = open_engine(settings.store_url)
    try:
        upgrade(engine)
        lock = RelayLock(engine)
        lock.take()
    finally:
        engine.dispose()
    return lock


def _bind(settings: Settings) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for one in settings.listeners:
        try:
            bound = bind(str(one.address), one.port)
        except OSError as error:
            raise StartError(
                f"[[listeners]] {one.address} port {one.port}: {error.strerror}"
            ) from error
        listeners.append(
            Listener(
                bound,
                implicit_tls=one.tls is ListenerTls.IMPLICIT,
                starttls=one.tls is ListenerTls.STARTTLS,
                chunking=one.chunking,
                proxies=one.proxies,
            )
        )
    return tuple(listeners)


def _run(main: Callable[[], Coroutine[None, None, int]]) -> int:
    return uvloop.run(main())


def _child(lock: RelayLock, main: Callable[[], Coroutine[None, None, int]]) -> int:
    lock.leave()  # the supervisor's alone: a child that drains must not keep it
    return _run(main)


async def _alone(
    settings: Settings, listeners: tuple[Listener, ...], times: SharedTimes
) -> int:
    """Worker and control in one process."""
    return await Worker(
        settings, listeners, times, control=Control(settings), supervisor=None
    ).run()


async def _relay(
    settings: Settings,
    listeners: tuple[Listener, ...],
    times: SharedTimes,
    supervisor: int,
) -> int:
    return await Worker(
        settings, listeners, times, control=None, supervisor=supervisor
    ).run()


async def _control(settings: Settings, supervisor: int) -> int:
    return await run_control(settings, supervisor=supervisor)
