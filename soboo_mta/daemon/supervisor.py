"""Forks the workers, hands them the listening sockets, starts again what died.

It runs no event loop and opens no store: a fork of it is clean. Each socket is bound once
and shared by all workers, so that a worker's end resets no connection in the queue.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
_STEADY_SECONDS = 5.0  # a child that lived longer is started again at once
_MAX_PAUSE_SECONDS = 30.0
_KILL_AFTER_SECONDS = 10.0  # beyond the grace that children were given to drain


@dataclass(slots=True)
class _Child:
    """One role and the process that has it now; `process` 0: waiting to be started."""

    run: Callable[[], int]
    process: int = 0
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Keeps one process alive for each role until it is told to stop.

    `roles` maps a name, for messages, to what the process runs; its result is the exit
    code. `grace_seconds` is what a child may take to drain after SIGTERM.
    """

    roles: Mapping[str, Callable[[], int]]
    grace_seconds: float
    _children: dict[str, _Child] = field(default_factory=dict)

    def run(self) -> int:
        """Return the exit code: 0 when all children ended in order."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._children = {name: _Child(run) for name, run in self.roles.items()}
        while True:
            self._start_due()
            seen = signal.sigtimedwait(_SIGNALS, self._patience())
            self._reap()
            if seen and seen.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop()

    def _start_due(self) -> None:
        now = time.monotonic()
        for name, child in self._children.items():
            if child.process == 0 and child.due <= now:
                self._start(name, child, now)

    def _start(self, name: str, child: _Child, now: float) -> None:
        child.started = now
        child.process = os.fork()
        if child.process == 0:
            os._exit(_run_child(name, child.run))

    def _patience(self) -> float:
        waiting = [c.due for c in self._children.values() if c.process == 0]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else 3600.0

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
        now = time.monotonic()
        for name, child in self._children.items():
            if child.process == process:
                child.process = 0
                steady = now - child.started > _STEADY_SECONDS
                child.pause = (
                    0.0 if steady else min(_MAX_PAUSE_SECONDS, child.pause * 2 or 0.5)
                )
                child.due = now + child.pause
                print(
                    f"soboo-mta: {name} (process {process}) ended with {code}",
                    file=sys.stderr,
                    flush=True,
                )

    def _stop(self) -> int:
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
        return [c.process for c in self._children.values() if c.process]

    def _signal_all(self, number: int) -> None:
        for process in self._living():
            os.kill(process, number)


def _run_child(name: str, run: Callable[[], int]) -> int:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        return run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - a task root: the trace is all that is left
        print(f"soboo-mta: {name} died", file=sys.stderr)
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
