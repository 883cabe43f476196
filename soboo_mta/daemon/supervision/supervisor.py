"""Forks the workers, starts again what died, replaces them one by one at SIGHUP.

It runs no event loop and opens no store: a fork of it is clean. Each socket is bound once
and shared by all workers, so that a worker's end resets no connection in the queue. A
worker is told to stop only once the one that takes its place takes mail.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from soboo_mta.daemon.supervision.notify import (
    tell_ready,
    tell_reloading,
    tell_stopping,
)
from soboo_mta.daemon.supervision.succession import Children, Rehearsal, Succession

Role = Callable[[Callable[[], None]], int]
"""What a process runs, given what to call once it works; the result is its exit code."""

_READY = signal.SIGRTMIN  # these queue, so that no child's word is lost
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _READY}
_STEADY_SECONDS = 5.0  # a child that lived longer is started again at once
_MAX_PAUSE_SECONDS = 30.0
_KILL_AFTER_SECONDS = 10.0  # beyond the grace that children were given to drain
_REHEARSAL_SECONDS = 60.0  # a start that takes longer is none
_IDLE_SECONDS = 3_600.0
_SURPLUS = "surplus"  # the role of a process whose role the settings no longer have
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Child:
    """One role and the process that has it now; `process` 0: waiting to be started.

    `older` had it before and work until this one is ready.
    """

    run: Role
    older: list[int] = field(default_factory=list)
    process: int = 0
    is_ready: bool = False
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Keeps one process alive for each role until it is told to stop.

    `grace_seconds` is what a child may take to drain after SIGTERM; `inherited` are the
    children of the run before, to be replaced.
    """

    roles: Mapping[str, Role]
    grace_seconds: float
    succession: Succession = field(default_factory=Succession)
    inherited: Children = ()
    _children: dict[str, _Child] = field(init=False)
    _surplus: list[int] = field(init=False)
    _kill_at: dict[int, float] = field(default_factory=dict)
    _rehearsal: Rehearsal | None = None
    _is_announced: bool = False  # to the service manager
    _is_logged: bool = False  # once a run: a refused reload leaves things as they were

    def __post_init__(self) -> None:
        self._children = {
            name: _Child(run, [p for role, p in self.inherited if role == name])
            for name, run in self.roles.items()
        }
        self._surplus = [p for role, p in self.inherited if role not in self.roles]

    def run(self) -> int:
        """Return the exit code: 0 when all children ended in order."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            self._start_due()
            self._settle()
            seen = signal.sigtimedwait(_SIGNALS, self._patience())
            if seen and seen.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop()
            if seen and seen.si_signo == signal.SIGHUP:
                self._rehearse()
            if seen and seen.si_signo == _READY:
                self._note_ready(seen.si_pid)
            self._reap()  # may end in the next run: what was seen is obeyed before
            self._kill_overdue()

    # ---- starting and replacing

    def _start_due(self) -> None:
        now = time.monotonic()
        for name, child in self._startable():
            if child.due <= now:
                self._start(name, child, now)

    def _startable(self) -> Iterator[tuple[str, _Child]]:
        """Who waits to be started: of those that replace another, one at a time."""
        turn = next((child for child in self._children.values() if child.older), None)
        for name, child in self._children.items():
            if child.process == 0 and (not child.older or child is turn):
                yield name, child

    def _start(self, name: str, child: _Child, now: float) -> None:
        child.started = now
        child.is_ready = False
        ready = partial(os.kill, os.getpid(), _READY)
        child.process = os.fork()
        if child.process == 0:
            os._exit(_run_child(name, partial(child.run, ready)))

    def _note_ready(self, process: int) -> None:
        for child in self._children.values():
            if child.process == process:
                child.is_ready = True
                for older in child.older:
                    self._dismiss(older)

    def _dismiss(self, process: int) -> None:
        if process not in self._kill_at:
            patience = self.grace_seconds + _KILL_AFTER_SECONDS
            self._kill_at[process] = time.monotonic() + patience
            os.kill(process, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for process, at in self._kill_at.items():
            if at <= now:
                os.kill(process, signal.SIGKILL)

    def _settle(self) -> None:
        """Once every role is taken: end what has none, then say that all is as wanted."""
        children = self._children.values()
        if not all(child.is_ready and not child.older for child in children):
            return
        for process in self._surplus:
            self._dismiss(process)
        if not self._surplus and not self._rehearsal and not self._is_announced:
            self._is_announced = True
            if not self._is_logged:
                self._is_logged = True
                _log.info("ready", processes=len(children))
            tell_ready()

    # ---- a reload

    def _rehearse(self) -> None:
        """Try the next run; one that is tried already is too old."""
        tell_reloading()
        self._is_announced = False
        self._end_rehearsal()
        rehearsal = self._rehearsal = self.succession.rehearse(self._heirs())
        self._kill_at[rehearsal.process] = time.monotonic() + _REHEARSAL_SECONDS

    def _end_rehearsal(self) -> None:
        if self._rehearsal is not None:
            os.kill(self._rehearsal.process, signal.SIGKILL)
            self._rehearsal.said()
            self._rehearsal = None

    def _note_rehearsal(self, rehearsal: Rehearsal, code: int) -> None:
        self._rehearsal = None
        if self.succession.is_refused(rehearsal, code):
            return
        self.succession.succeed(self._heirs())

    def _heirs(self) -> Children:
        """All that live, for the next run to replace."""
        heirs = [(_SURPLUS, process) for process in self._surplus]
        for name, child in self._children.items():
            heirs += [(name, process) for process in (*child.older, child.process)]
        return tuple((name, process) for name, process in heirs if process)

    # ---- ends

    def _patience(self) -> float:
        moments = [child.due for _, child in self._startable()]
        moments += self._kill_at.values()
        now = time.monotonic()
        return max(0.0, min(moments, default=now + _IDLE_SECONDS) - now)

    def _reap(self) -> int:
        """Note every child that ended; return the worst exit code among them."""
        worst = 0
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return worst
            if process == 0:
                return worst
            code = os.waitstatus_to_exitcode(status)
            worst = worst or code
            self._note_end(process, code)

    def _note_end(self, process: int, code: int) -> None:
        self._kill_at.pop(process, None)
        rehearsal = self._rehearsal
        if rehearsal is not None and rehearsal.process == process:
            self._note_rehearsal(rehearsal, code)
        if process in self._surplus:
            self._surplus.remove(process)
            _log.info("process_left", role=_SURPLUS, process=process, code=code)
        for name, child in self._children.items():
            if process in child.older:
                child.older.remove(process)
                _log.info("process_left", role=name, process=process, code=code)
            elif child.process == process:
                self._note_death(name, child, code)

    def _note_death(self, name: str, child: _Child, code: int) -> None:
        now = time.monotonic()
        steady = now - child.started > _STEADY_SECONDS
        child.pause = 0.0 if steady else min(_MAX_PAUSE_SECONDS, child.pause * 2 or 0.5)
        child.due = now + child.pause
        _log.warning(
            "process_ended",
            role=name,
            process=child.process,
            code=code,
            again_in_seconds=child.pause,
        )
        child.process = 0
        child.is_ready = False

    def _stop(self) -> int:
        tell_stopping()
        self._end_rehearsal()
        for child in self._children.values():  # nobody is started again
            child.older += filter(None, (child.process,))
            child.process = 0
        self._signal_all(signal.SIGTERM)
        worst = self._wait(self.grace_seconds + _KILL_AFTER_SECONDS)
        if self._living():
            self._signal_all(signal.SIGKILL)
            self._wait(_KILL_AFTER_SECONDS)
            return 1
        return 1 if worst else 0

    def _wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        worst = self._reap()
        while self._living() and (left := end - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
            worst = self._reap() or worst
        return worst

    def _living(self) -> list[int]:
        return [process for _, process in self._heirs()]

    def _signal_all(self, number: int) -> None:
        for process in self._living():
            os.kill(process, number)


def _run_child(name: str, run: Callable[[], int]) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a terminal's end: not for us
    for number in (signal.SIGTERM, signal.SIGINT):  # until the loop takes them
        signal.signal(number, _end_in_order)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - a task root: the trace is all that is left
        _log.exception("process_died", role=name)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _end_in_order(_number: int, _frame: object) -> None:
    """Told to stop before there was anything to finish."""
    raise SystemExit(0)
