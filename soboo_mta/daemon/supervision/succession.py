"""One run of the relay hands over to the next: the same process, run anew.

exec keeps the process id, so that neither the children nor the service manager lose it,
and the listening sockets, so that no client is refused; the code and the settings are
read afresh. A rehearsal goes before: the same command, run beside it up to its first
process. What fails there changes nothing.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

import structlog

_VARIABLE = "HANDOVER_OF_SOBOO_MTA"
_SAID_OCTETS = 4_000  # of what a rehearsal says, for the log
_log = structlog.get_logger(__name__)

Children = Sequence[tuple[str, int]]
"""Roles and the processes that have them; while they are replaced one may have two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What the run before left: nothing where this one is the first.

    `descriptors` are those of its sockets, by where each is bound, in words, and of its
    lock.
    """

    descriptors: Mapping[str, int] = field(default_factory=dict)
    children: Children = ()
    is_rehearsal: bool = False

    def written(self) -> str:
        """As the environment carries it."""
        facts = {
            "descriptors": dict(self.descriptors),
            "children": list(self.children),
            "is_rehearsal": self.is_rehearsal,
        }
        return json.dumps(facts)


def received() -> Handover:
    """Return what was handed over to this process, once."""
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return Handover()
    facts = json.loads(text)
    children = tuple((str(role), int(process)) for role, process in facts["children"])
    return Handover(
        descriptors=facts["descriptors"],
        children=children,
        is_rehearsal=facts["is_rehearsal"],
    )


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A start that is tried; `process` is ours to wait for."""

    process: int
    _output: BinaryIO

    def said(self) -> str:
        """The end of what it printed, once it is over."""
        with self._output as output:
            end = output.seek(0, os.SEEK_END)
            output.seek(max(0, end - _SAID_OCTETS))
            return output.read().decode(errors="replace").strip()


@dataclass(frozen=True, slots=True)
class Succession:
    """Runs this process's own command again; `descriptors` as in `Handover`."""

    descriptors: Mapping[str, int] = field(default_factory=dict)

    def rehearse(self, children: Children) -> Rehearsal:
        """Start the rehearsal of a run that would have these children."""
        output = tempfile.TemporaryFile()  # noqa: SIM115 - `said` closes it
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
        self._let_through(True)
        try:
            process = os.posix_spawn(
                sys.executable,
                sys.orig_argv,
                self._environment(children, is_rehearsal=True),
                file_actions=actions,
                setsigmask=(),
            )
        finally:
            self._let_through(False)
        return Rehearsal(process, output)

    def is_refused(self, rehearsal: Rehearsal, code: int) -> bool:
        """Whether the rehearsal, now over with this exit code, failed; the log says why."""
        said = rehearsal.said()
        if code == 0:
            _log.info("reload", said=said)
        else:
            _log.error("reload_refused", code=code, said=said)
        return code != 0

    def succeed(self, children: Children) -> NoReturn:
        """Become the next run: to be called after a rehearsal that went well."""
        environment = self._environment(children, is_rehearsal=False)
        # Waits until the next run is ready for it; by default it would end that.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        self._let_through(True)
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606 - our own

    def _environment(self, children: Children, *, is_rehearsal: bool) -> dict[str, str]:
        handover = Handover(
            descriptors=self.descriptors, children=children, is_rehearsal=is_rehearsal
        )
        return {**os.environ, _VARIABLE: handover.written()}

    def _let_through(self, is_open: bool) -> None:
        for descriptor in self.descriptors.values():
            os.set_inheritable(descriptor, is_open)
