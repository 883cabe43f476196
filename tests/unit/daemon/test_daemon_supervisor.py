"""The supervisor as a process: roles are kept alive and stopped in order."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.daemon.supervision import supervisor as module

def note(name):
    with open(sys.argv[1], "a") as file:
        file.write(f"{name} {os.getpid()}\\n")

def obedient(ready):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    note("obedient")
    ready()
    while True:
        time.sleep(60)

def deaf(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("deaf")
    while True:
        time.sleep(60)

def faulty(ready):
    note("faulty")
    raise ValueError("a fault of ours")

set_up_logs("info")
module._KILL_AFTER_SECONDS = 0.2
roles = {name: globals()[name] for name in sys.argv[2:]}
sys.exit(module.Supervisor(roles=roles, grace_seconds=0.2).run())
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def start(notes: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*roles: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(notes), *roles],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):  # its children too: they hold the pipe
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _noted(notes: Path, count: int) -> list[tuple[str, int]]:
    """Wait until `count` roles have begun; return their names and processes."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = notes.read_text().splitlines() if notes.exists() else []
        if len(lines) >= count:
            return [(line.split()[0], int(line.split()[1])) for line in lines]
        time.sleep(0.02)
    raise AssertionError(f"{count} roles did not begin: {lines}")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_role_is_started_again(start: Start, notes: Path) -> None:
    start("obedient")
    ((_, first),) = _noted(notes, 1)
    os.kill(first, signal.SIGKILL)
    second = _noted(notes, 2)[1][1]
    assert second != first
    assert _is_alive(second)


def test_a_role_that_fails_again_and_again_is_started_ever_less_often(
    start: Start, notes: Path
) -> None:
    supervisor = start("faulty")
    _noted(notes, 3)  # at once, after 0.5 s, after 1 s more
    supervisor.send_signal(signal.SIGTERM)
    _, errors = supervisor.communicate(timeout=10)
    assert "a fault of ours" in errors
    ends = [json.loads(x) for x in errors.splitlines() if "process_ended" in x]
    pauses = [end["again_in_seconds"] for end in ends if "again_in_seconds" in end]
    assert pauses[:2] == [0.5, 1.0]
    assert {(end["role"], end["code"]) for end in ends} == {("faulty", 1)}
    assert len(_noted(notes, 3)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_stops_every_role_and_exits_with_0(
    start: Start, notes: Path, number: signal.Signals
) -> None:
    supervisor = start("obedient")
    ((_, child),) = _noted(notes, 1)
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=10) == 0
    assert not _is_alive(child)


def test_a_role_that_does_not_stop_in_time_is_killed_and_the_code_says_so(
    start: Start, notes: Path
) -> None:
    supervisor = start("deaf", "obedient")
    children = [process for _, process in _noted(notes, 2)]
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=10) == 1
    assert not any(map(_is_alive, children))
