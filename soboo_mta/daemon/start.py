"""From the settings to running processes: the store made ready, sockets bound, roles.

Nothing that a fork must not copy (threads, connections, event loops) exists before it.
What the run before handed over (`supervision.succession`) is taken on here.
"""

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
import uvloop

from soboo_mta.daemon.control import Control, run_control, told_to_stop
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.daemon.supervision.alone import Alone
from soboo_mta.daemon.supervision.sockets import CannotBind, Doors, bound
from soboo_mta.daemon.supervision.succession import Handover, Succession, received
from soboo_mta.daemon.supervision.supervisor import Role, Supervisor
from soboo_mta.daemon.web import Watch
from soboo_mta.daemon.worker import Worker
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.smtp_server import Neighbours, SharedTimes
from soboo_mta.settings import Settings
from soboo_mta.settings.certificates import faults_of_certificates
from soboo_mta.settings.warnings import warnings
from soboo_mta.store.engine import open_engine
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import upgrade
from soboo_mta.web.metrics.board import Board

_log = structlog.get_logger(__name__)


class StartError(Exception):
    """The relay can't start; the text says what to change."""


def serve(settings: Settings) -> int:
    """Run the relay until it is told to stop; return the exit code.

    Raises StartError, StoreError or SecretError where it can't start.
    """
    handover = received()
    set_up_logs(settings.log.level)
    _warn(settings, is_rehearsal=handover.is_rehearsal)
    settings.master_key()  # refuses to start without, before anything is bound
    _check_certificates(settings)
    rules = _bounce_rules(settings)
    lock = _prepare_store(settings, handover.descriptors)
    try:
        return _serve(settings, handover, lock, rules)
    finally:
        lock.leave()


def _serve(
    settings: Settings, handover: Handover, lock: RelayLock, rules: RuleSet
) -> int:
    if handover.children and settings.worker_count == 0:
        raise StartError("[server] workers: from several processes to one by a restart")
    try:
        sockets = bound(settings, handover.descriptors)
    except CannotBind as error:
        raise StartError(str(error)) from error
    if handover.is_rehearsal:
        return 0
    numbers = range(1, settings.worker_count + 1)
    crew = _Crew(
        settings=settings,
        rules=rules,
        doors=Doors.copied(settings, sockets),
        times=SharedTimes(),
        neighbours=Neighbours(settings.worker_count or 1),
        boards={f"worker {number}": Board() for number in numbers} or {"all": Board()},
    )
    descriptors = {name: one.fileno() for name, one in sockets.items()}
    succession = Succession({**descriptors, **lock.descriptors})
    gc.freeze()  # what is loaded by now is shared with the children: never traced
    if settings.worker_count == 0:
        return _run_alone(crew, Alone(succession))
    grace = settings.server.stop_within.total_seconds()
    return Supervisor(
        roles=_roles(crew, lock),
        grace_seconds=grace,
        succession=succession,
        inherited=handover.children,
    ).run()


def _warn(settings: Settings, *, is_rehearsal: bool) -> None:
    """Say what is allowed and yet worth knowing: a rehearsal says it in plain text, which
    is a field of one line of the log."""
    for text in warnings(settings):
        if is_rehearsal:
            sys.stderr.write(f"warning: {text}\n")
        else:
            _log.warning("settings_warning", text=text)


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
    if faults := tuple(faults_of_certificates(settings)):
        raise StartError("\n".join(faults))


def _bounce_rules(settings: Settings) -> RuleSet:
    """Read once, before the fork: the processes share them."""
    try:
        return settings.bounce_rules()
    except FormatError as error:
        raise StartError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crew:
    """What all processes of a run are built from: made once, before the fork."""

    settings: Settings
    rules: RuleSet
    doors: Doors
    times: SharedTimes
    neighbours: Neighbours
    boards: Mapping[str, Board]

    @property
    def watch(self) -> Watch:
        return Watch(self.doors.monitoring, self.boards)

    def worker(
        self,
        board: Board,
        *,
        control: Control | None,
        ready: Callable[[], None],
        told: Callable[[], Awaitable[None]],
    ) -> Worker:
        return Worker(
            self.settings,
            self.doors.listeners,
            self.times,
            self.neighbours,
            rules=self.rules,
            http=self.doors.http,
            board=board,
            control=control,
            ready=ready,
            told=told,
        )


def _run_alone(crew: _Crew, alone: Alone) -> int:
    """Worker and control in one process."""
    (board,) = crew.boards.values()

    async def run() -> int:
        control = Control(crew.settings, crew.watch, crew.doors.returns)
        return await crew.worker(
            board, control=control, ready=alone.ready, told=alone.told
        ).run()

    code: int = uvloop.run(run())
    if alone.succeeds:
        alone.succession.succeed(())
    return code


def _roles(crew: _Crew, lock: RelayLock) -> dict[str, Role]:
    told = partial(told_to_stop, os.getpid())

    def relay(place: int, board: Board, ready: Callable[[], None]) -> int:
        async def run() -> int:
            lock.leave()  # the supervisor's: a child that drains must not keep it
            crew.neighbours.take_place(place)
            return await crew.worker(board, control=None, ready=ready, told=told).run()

        return int(uvloop.run(run()))

    def control(ready: Callable[[], None]) -> int:
        lock.leave()
        return int(
            uvloop.run(
                run_control(
                    Control(crew.settings, crew.watch, crew.doors.returns),
                    ready=ready,
                    told=told,
                )
            )
        )

    roles: dict[str, Role] = {
        role: partial(relay, place, board)
        for place, (role, board) in enumerate(crew.boards.items())
    }
    return {**roles, "control": control}
