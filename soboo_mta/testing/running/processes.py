"""Starts and stops the plugin's processes; waits for what they say, and tells why not.

They are this Python's, with this Python's packages, but without the variables that would
change a relay's settings and without the folder that the tests run in.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_STOPS_WITHIN = 10.0  # seconds, then it is killed
_TAIL = 4_000  # letters of a log in an error


class SobooError(Exception):
    """The relay, the lab or a command of theirs failed; the text says how."""


class Process:
    """One running `soboo-mta`; what it says on either stream goes to `log`."""

    def __init__(self, name: str, words: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as complaints:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-P", "-m", "soboo_mta.testing.running.child", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=_environment(),
            )
        self._reader: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def read_line(self) -> str:
        """Return the next line it says; raises SobooError where it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line:
            raise self.failure("ended")
        return line.rstrip("\n")

    def write_line(self, text: str) -> None:
        """Say one line to it; raises SobooError where it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as gone:
            raise self.failure("ended") from gone

    def follow(self, heard: Callable[[str], None] | None = None) -> None:
        """Let what it says from now on go to its log, line by line past `heard`."""
        self._reader = threading.Thread(
            target=self._pour, args=(heard,), name=f"soboo {self.name}", daemon=True
        )
        self._reader.start()

    def failure(self, what: str) -> SobooError:
        """An error that shows the end of the log."""
        return SobooError(f"the {self.name} {what}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-_TAIL:]

    def end(self) -> None:
        """Tell it to end; `stop` waits for it."""
        if self.is_running:
            self._process.terminate()

    def stop(self) -> None:
        """End it, kindly first, and wait until it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.end()
        try:
            self._process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def _pour(self, heard: Callable[[str], None] | None) -> None:
        assert self._process.stdout is not None
        with self.log.open("ab") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                if heard is not None:
                    heard(line.decode(errors="replace"))


class Commands:
    """The command line in one warm process; not for two threads at once."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config = config
        self._process = Process("command line", ["commands"], log)
        self._lock = threading.Lock()

    def run(self, *words: str, codes: Sequence[int] = (0,)) -> str:
        """Run `soboo-mta WORDS` and return what it said; raises SobooError else."""
        code, said, complained = self._ask(words)
        if code not in codes:
            raise SobooError(
                f"soboo-mta {' '.join(words)} ended with {code}:\n{complained}{said}"
            )
        return said

    def is_done(self, *words: str) -> bool:
        """Run it; whether its exit code was 0 (True) or 1; raises SobooError else."""
        code, said, complained = self._ask(words)
        if code > 1:
            raise SobooError(f"soboo-mta {' '.join(words)}:\n{complained}{said}")
        return code == 0

    def _ask(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Return the exit code and what went to each stream."""
        with self._lock:
            line = [*words, "--config", str(self._config)]
            self._process.write_line(json.dumps(line))
            answer = json.loads(self._process.read_line())
        return int(answer["code"]), str(answer["out"]), str(answer["err"])

    def end(self) -> None:
        """Tell the process to end."""
        self._process.end()

    def stop(self) -> None:
        """End the process and wait until it is gone."""
        self._process.stop()


def _environment() -> dict[str, str]:
    """Ours, less what would change a relay's settings behind the suite's back."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SOBOO_")}
