"""From the settings to running processes: the store made ready, sockets bound, roles.

Nothing that a fork must not copy (threads, connections, event loops) exists before it.
"""

import gc
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Self

import uvloop

from soboo_mta.daemon.control import Control, run_control
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.daemon.supervisor import Supervisor
from soboo_mta.daemon.web import HttpSocket, Watch
from soboo_mta.daemon.worker import Worker
from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Listener, SharedTimes
from soboo_mta.ports import IpAddress
from soboo_mta.settings import Settings
from soboo_mta.settings.sections import ListenerTls
from soboo_mta.store.engine import open_engine
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import upgrade
from soboo_mta.web.metrics.board import Board


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
        return _serve(settings, _Shared.made(settings), lock)
    finally:
        lock.leave()


def _serve(settings: Settings, shared: "_Shared", lock: RelayLock) -> int:
    workers = [f"worker {number}" for number in range(1, settings.worker_count + 1)]
    boards = {role: Board() for role in workers or ["all"]}
    watch = Watch(shared.monitoring, boards)
    if not workers:
        return _run(partial(_alone, settings, shared, watch))
    roles: dict[str, Callable[[], int]] = {
        role: partial(
            _child, lock, partial(_relay, settings, shared, boards[role], os.getpid())
        )
        for role in workers
    }
    roles["control"] = partial(
        _child, lock, partial(_control, settings, watch, os.getpid())
    )
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What the workers share, made once before the fork: sockets, and tables in memory."""

    listeners: tuple[Listener, ...]
    http: tuple[HttpSocket, ...]
    monitoring: socket.socket | None
    times: SharedTimes

    @classmethod
    def made(cls, settings: Settings) -> Self:
        """Bind all that the settings name; raises StartError."""
        monitoring = settings.monitoring
        return cls(
            listeners=tuple(
                Listener(
                    _bind("[[listeners]]", one.address, one.port),
                    implicit_tls=one.tls is ListenerTls.IMPLICIT,
                    starttls=one.tls is ListenerTls.STARTTLS,
                    chunking=one.chunking,
                    proxies=one.proxies,
                )
                for one in settings.listeners
            ),
            http=tuple(
                HttpSocket(_bind("[[http_listeners]]", one.address, one.port), one.tls)
                for one in settings.http_listeners
            ),
            monitoring=None
            if monitoring.port is None
            else _bind("[monitoring]", monitoring.address, monitoring.port),
            times=SharedTimes(),
        )


def _bind(section: str, address: IpAddress, port: int) -> socket.socket:
    try:
        return bind(str(address), port)
    except OSError as error:
        raise StartError(
            f"{section} {address} port {port}: {error.strerror}"
        ) from error


def _run(main: Callable[[], Coroutine[None, None, int]]) -> int:
    return uvloop.run(main())


def _child(lock: RelayLock, main: Callable[[], Coroutine[None, None, int]]) -> int:
    lock.leave()  # the supervisor's alone: a child that drains must not keep it
    return _run(main)


async def _alone(settings: Settings, shared: _Shared, watch: Watch) -> int:
    """Worker and control in one process."""
    (board,) = watch.boards.values()
    return await Worker(
        settings,
        shared.listeners,
        shared.times,
        http=shared.http,
        board=board,
        control=Control(settings, watch),
        supervisor=None,
    ).run()


async def _relay(
    settings: Settings, shared: _Shared, board: Board, supervisor: int
) -> int:
    return await Worker(
        settings,
        shared.listeners,
        shared.times,
        http=shared.http,
        board=board,
        control=None,
        supervisor=supervisor,
    ).run()


async def _control(settings: Settings, watch: Watch, supervisor: int) -> int:
    return await run_control(settings, watch, supervisor=supervisor)
