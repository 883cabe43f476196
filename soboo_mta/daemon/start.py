"""From the settings to running processes: the store made ready, sockets bound, roles.

Nothing that a fork must not copy (threads, connections, event loops) exists before it.
What the run before handed over (`supervision.succession`) is taken on here.
"""

import gc
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import uvloop

from soboo_mta.daemon.control import Control, run_control, told_to_stop
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.daemon.supervision.alone import Alone
from soboo_mta.daemon.supervision.succession import Handover, Succession, received
from soboo_mta.daemon.supervision.supervisor import Role, Supervisor
from soboo_mta.daemon.worker import Worker, listener_tls
from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Listener, Neighbours, SharedTimes
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
    handover = received()
    set_up_logs(settings.log.level)
    settings.master_key()  # refuses to start without, before anything is bound
    _check_certificates(settings)
    lock = _prepare_store(settings, handover.descriptors)
    try:
        return _serve(settings, handover, lock)
    finally:
        lock.leave()


def _serve(settings: Settings, handover: Handover, lock: RelayLock) -> int:
    if handover.children and settings.worker_count == 0:
        raise StartError("[server] workers: from several processes to one by a restart")
    sockets = _bind(settings, handover.descriptors)
    if handover.is_rehearsal:
        return 0
    listeners = _listeners(settings, sockets)
    neighbours = Neighbours(settings.worker_count or 1)
    build = partial(Worker, settings, listeners, SharedTimes(), neighbours)
    descriptors = {name: one.fileno() for name, one in sockets.items()}
    succession = Succession({**descriptors, **lock.descriptors})
    if settings.worker_count == 0:
        return _run_alone(settings, build, Alone(succession))
    grace = settings.server.stop_within.total_seconds()
    gc.freeze()  # what is loaded by now is shared with the children: never traced
    return Supervisor(
        roles=_roles(settings, build, neighbours, lock),
        grace_seconds=grace,
        succession=succession,
        inherited=handover.children,
    ).run()


def _prepare_store(settings: Settings, kept: Mapping[str, int]) -> RelayLock:
    """Bring the store up, and take it for this relay alone (case 132)."""
    engine = open_engine(settings.store_url)
    try:
        upgrade(engine)
        lock = RelayLock(engine)
        lock.take(kept)
    finally:
        engine.dispose()
    return lock


def _check_certificates(settings: Settings) -> None:
    """Each worker loads them for itself: what can't be loaded is known here."""
    files = [one.client_ca_file for one in settings.listeners]
    for client_ca_file in (None, *filter(None, files)):
        try:
            listener_tls(settings, client_ca_file)
        except OSError as error:  # ssl.SSLError is one
            faulty = client_ca_file or settings.tls.certificate_file
            raise StartError(f"[tls] {faulty}: {error}") from error


# ---- sockets


def _bind(settings: Settings, kept: Mapping[str, int]) -> dict[str, socket.socket]:
    """Take on what is bound already, bind the rest; the kernel closes what is left over
    with the last old worker."""
    sockets: dict[str, socket.socket] = {}
    for one in settings.listeners:
        name = f"{one.address} port {one.port}"
        try:
            if name in kept:
                sockets[name] = socket.socket(fileno=kept[name])
                sockets[name].set_inheritable(False)
            else:
                sockets[name] = bind(str(one.address), one.port)
        except OSError as error:
            raise StartError(f"[[listeners]] {name}: {error.strerror}") from error
    for name, descriptor in kept.items():
        if " port " in name and name not in sockets:
            os.close(descriptor)
    return sockets


def _listeners(
    settings: Settings, sockets: Mapping[str, socket.socket]
) -> tuple[Listener, ...]:
    """A worker's own copies: it closes them when it stops, ours outlive it."""
    return tuple(
        Listener(
            sockets[f"{one.address} port {one.port}"].dup(),
            implicit_tls=one.tls is ListenerTls.IMPLICIT,
            chunking=one.chunking,
            proxies=one.proxies,
        )
        for one in settings.listeners
    )


# ---- processes


class _Build(Protocol):
    """A worker of these settings; which process it is in is said last."""

    def __call__(
        self,
        *,
        control: Control | None,
        ready: Callable[[], None],
        told: Callable[[], Awaitable[None]],
    ) -> Worker: ...


def _run_alone(settings: Settings, build: _Build, alone: Alone) -> int:
    async def run() -> int:
        return await build(
            control=Control(settings), ready=alone.ready, told=alone.told
        ).run()

    code: int = uvloop.run(run())
    if alone.succeeds:
        alone.succession.succeed(())
    return code


def _roles(
    settings: Settings, build: _Build, neighbours: Neighbours, lock: RelayLock
) -> dict[str, Role]:
    told = partial(told_to_stop, os.getpid())

    def relay(place: int, ready: Callable[[], None]) -> int:
        async def run() -> int:
            lock.leave()  # the supervisor's: a child that drains must not keep it
            neighbours.take_place(place)
            return await build(control=None, ready=ready, told=told).run()

        return int(uvloop.run(run()))

    def control(ready: Callable[[], None]) -> int:
        lock.leave()
        return int(uvloop.run(run_control(settings, ready=ready, told=told)))

    roles: dict[str, Role] = {
        f"worker {place + 1}": partial(relay, place)
        for place in range(settings.worker_count)
    }
    return {**roles, "control": control}
