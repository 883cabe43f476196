"""Other people's programs, run to their end or beside a test, with what they printed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 120  # seconds for any one program


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


async def run(
    *command: str | Path, stdin: str = "", env: Mapping[str, str] | None = None
) -> Ended:
    """Run a program to its end; never raises for an exit code."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    async with asyncio.timeout(_LONGEST):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Ended(
        code=process.returncode,
        out=out.decode(errors="replace"),
        err=err.decode(errors="replace"),
    )


@asynccontextmanager
async def running(
    *command: str | Path, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server beside the test, ended with SIGTERM; what it prints goes to `log`."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdout=file,
            stderr=file,
            stdin=asyncio.subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()


async def is_listening(address: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
