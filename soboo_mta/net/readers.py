"""Runs readers of returns (`returns.reader`) as processes that may be killed.

A reader that is too slow, eats too much or fails is ended, and another one takes its place:
what it was reading is the answer `Ended`, with what is known of the cause.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from soboo_mta.formats.returned.recognise import Arrival
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import Return
from soboo_mta.returns.options import ReaderLimits
from soboo_mta.returns.reader.__main__ import OUT_OF_MEMORY
from soboo_mta.returns.reader.frames import ANSWER, question, said

PROGRAM: Final = (sys.executable, "-m", "soboo_mta.returns.reader")
_CHUNK: Final = 1 << 18  # octets written at a time
_LAST_WORDS: Final = 200  # characters of the last line of a traceback
_DYING: Final = timedelta(seconds=2)  # for a process whose pipe is closed


@dataclass(frozen=True, slots=True)
class Ended:
    """Its reader ended over a return; `why` is a sentence."""

    why: str


class Readers:
    """Up to `number` readers; each starts when it is first needed."""

    def __init__(
        self, *, number: int, limits: ReaderLimits, program: Sequence[str] = PROGRAM
    ) -> None:
        self._free: asyncio.Queue[_Reader] = asyncio.Queue()
        for _ in range(number):
            self._free.put_nowait(_Reader(limits, program))

    async def read(self, content: bytes, arrival: Arrival) -> Return | Ended:
        """Return what `content` is, or that its reader ended; waits for a free one.

        OSError where no process can be started.
        """
        reader = await self._free.get()
        try:
            return await reader.read(content, arrival)
        except BaseException:
            await reader.end()  # broken off in the middle: out of step
            raise
        finally:
            self._free.put_nowait(reader)

    async def close(self) -> None:
        """End all of them."""
        while not self._free.empty():
            await self._free.get_nowait().end()


class _Reader:
    """One process, started again after its end."""

    def __init__(self, limits: ReaderLimits, program: Sequence[str]) -> None:
        self._limits = limits
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    async def read(self, content: bytes, arrival: Arrival) -> Return | Ended:
        process = await self._started()
        try:
            async with asyncio.timeout(self._limits.seconds.total_seconds()):
                written = await self._ask(process, content, arrival)
        except TimeoutError:
            await self.end()
            seconds = self._limits.seconds.total_seconds()
            return Ended(f"it was not read within {seconds:g} seconds")
        except (OSError, asyncio.IncompleteReadError):
            return Ended(await self._cause(process))
        try:
            return said(written)
        except FormatError as error:
            await self.end()
            return Ended(str(error))

    async def end(self) -> None:
        """Kill it, whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await _gone(process)

    async def _started(self) -> asyncio.subprocess.Process:
        process = self._process
        if process is not None and process.returncode is None:
            return process
        await self.end()
        limits = self._limits
        self._process = await asyncio.create_subprocess_exec(
            *self._program,
            *map(str, (limits.memory_octets, limits.cpu_seconds, limits.answer_octets)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self._process

    async def _ask(
        self, process: asyncio.subprocess.Process, content: bytes, arrival: Arrival
    ) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(question(content, arrival))
        whole = memoryview(content)
        for start in range(0, len(content), _CHUNK):
            process.stdin.write(whole[start : start + _CHUNK])
            await process.stdin.drain()
        await process.stdin.drain()
        head = await process.stdout.readexactly(ANSWER.size)
        (length,) = ANSWER.unpack(head)
        if length > self._limits.answer_octets:
            raise ConnectionAbortedError("an answer over its limit")
        return await process.stdout.readexactly(length)

    async def _cause(self, process: asyncio.subprocess.Process) -> str:
        """Say why it ended, or stopped answering, by itself."""
        assert process.stderr is not None
        words = b""
        try:
            async with asyncio.timeout(_DYING.total_seconds()):
                words = await process.stderr.read()
                await process.wait()
        except TimeoutError:
            pass  # it closed its answer and lives on
        await self.end()
        code = process.returncode or 0
        if code == OUT_OF_MEMORY:
            return f"it took over {self._limits.memory_octets} octets of memory"
        if code == -signal.SIGXCPU:
            return f"it took over {self._limits.cpu_seconds} seconds of processor"
        if code < 0:
            return f"its reader was ended by {signal.Signals(-code).name}"
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        return f"its reader failed: {last[:_LAST_WORDS] or f'exit code {code}'}"


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Wait for its end, its pipes read empty and closed."""
    if process.stdin is not None:
        process.stdin.close()
    await process.communicate()
