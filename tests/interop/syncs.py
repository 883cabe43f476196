"""Reads what strace saw of the relay: was a message synced before its 250 was written?

A call counts from the line on which it was entered to the line on which it returned, so
that two threads' calls are told apart: strace writes the lines in the order of events.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_WAL = "-wal>"
_SHOWN = 8_400  # octets of each write: a page of the store and a frame's head
_FEWEST = 0.8  # of a message's lines: the others lie across two pages
_LINE = re.compile(r"[0-9a-f]{75}(?=\\r\\n)")
_CALL = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_RESULT = re.compile(r"\) += (-?\d+)")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call; `entered` and `returned` are line numbers of the trace."""

    text: str
    entered: int
    returned: int

    @property
    def name(self) -> str:
        return self.text.partition("(")[0]

    @property
    def result(self) -> int:
        found = _RESULT.search(self.text[-200:])
        return int(found[1]) if found else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A message that got 250: the lines of its body, and the id in its reply."""

    name: str
    lines: tuple[str, ...]
    accepted_as: str


@asynccontextmanager
async def traced(process: int, out: Path, *options: str) -> AsyncIterator[None]:
    """Trace all threads of `process` into `out` while inside; strace lets go after."""
    strace = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-y", "-s", str(_SHOWN), "-o", str(out), *options),
        *("-p", str(process)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert strace.stderr is not None
    said = await asyncio.wait_for(strace.stderr.readline(), 10)
    assert b"attached" in said, said
    try:
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        await strace.communicate()


def calls(lines: Iterable[str]) -> list[Call]:
    """Put the halves of interrupted calls together; in the order of their return."""
    begun: dict[str, tuple[str, int]] = {}
    whole: list[Call] = []
    for number, line in enumerate(lines):
        found = _CALL.match(line)
        if found is None:
            continue
        thread, text = found.groups()
        if text.endswith("<unfinished ...>"):
            begun[thread] = (text.removesuffix("<unfinished ...>"), number)
        elif (rest := _RESUMED.match(text)) is not None:
            start, entered = begun.pop(thread, ("", number))
            whole.append(Call(start + rest[1], entered, number))
        else:
            whole.append(Call(text, number, number))
    return whole


def unsynced(trace: Sequence[Call], messages: Iterable[Answered]) -> list[str]:
    """Say for each message what was missing before its 250; empty when all is well."""
    first_written: dict[str, Call] = {}
    for call in trace:
        if call.name.startswith("pwrite") and _WAL in call.text[:300]:
            for line in _LINE.findall(call.text):
                first_written.setdefault(line, call)
    syncs = [
        call
        for call in trace
        if call.name in ("fsync", "fdatasync") and _WAL in call.text and not call.result
    ]
    troubles = (_trouble(one, trace, first_written, syncs) for one in messages)
    return [trouble for trouble in troubles if trouble]


def _trouble(
    message: Answered,
    trace: Sequence[Call],
    first_written: dict[str, Call],
    syncs: Sequence[Call],
) -> str:
    answer = f"Accepted as {message.accepted_as}"
    answers = [c for c in trace if answer in c.text and "socket:" in c.text[:300]]
    if len(answers) != 1:
        return f"{message.name}: its 250 was seen {len(answers)} times"
    writes = [first_written[line] for line in message.lines if line in first_written]
    if len(writes) < _FEWEST * len(message.lines):
        seen = f"{len(writes)} of {len(message.lines)}"
        return f"{message.name}: {seen} lines were seen on their way to the WAL"
    written, answered = max(call.returned for call in writes), answers[0].entered
    if written >= answered:
        return f"{message.name}: written after its 250"
    if not any(written < s.entered and s.returned < answered for s in syncs):
        return f"{message.name}: no sync between its octets and its 250"
    return ""
