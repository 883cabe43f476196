"""Scripted SMTP conversations of another project (its `.cmy` files), played at a server.

Lines of a script, `c` being the connection: `c -> text` sends a line, `c ~> 'text' * 3`
octets as they are; `c <- text`, `c <~ pattern` and `c <... text` expect a reply. What a
server of other words must share is the kind of each reply, its first digit.
"""

import ast
import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PATIENCE = 10  # seconds for one reply
_CLOSED = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """At `line` of the script one reply was expected and another came, "" for none."""

    line: int
    wanted: str
    got: str


@dataclass(slots=True, kw_only=True)
class Play:
    """Plays scripts at `ports` (of `tcp_connect` and `tls_connect`); `instead` are texts
    to say in place of the script's: addresses and secrets of this server."""

    ports: Mapping[str, int]
    tls: ssl.SSLContext
    instead: Mapping[str, str]
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _differences: list[Difference] = field(default_factory=list)

    async def run(self, script: Path) -> list[Difference]:
        """Play a script to its end; return where the server differs from it."""
        self._differences = []
        try:
            for number, line in enumerate(script.read_text().splitlines(), 1):
                if line and not line.startswith("#"):
                    name, _, rest = line.partition(" ")
                    assert name == "c", f"{script}:{number}: {line}"
                    await self._step(number, *rest.partition(" ")[::2])
        finally:
            await self._close()
        return self._differences

    async def _step(self, number: int, verb: str, rest: str) -> None:
        match verb:
            case "tcp_connect" | "tls_connect":
                await self._close()
                context = self.tls if verb == "tls_connect" else None
                self._reader, self._writer = await asyncio.open_connection(
                    "localhost", self.ports[verb], ssl=context
                )
            case "close":
                await self._close()
            case "->":
                await self._send(self._adapted(rest).encode() + b"\r\n")
            case "~>":
                await self._send(_evaluated(rest).encode())
            case "<-" | "<~" | "<...":
                got = await self._reply()
                if got[:1] != rest[:1]:
                    self._differences.append(Difference(number, rest, got))
            case _:
                raise ValueError(f"line {number}: {verb!r} is no step of a dialogue")

    def _adapted(self, text: str) -> str:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return text

    async def _send(self, octets: bytes) -> None:
        assert self._writer is not None
        self._writer.write(octets)
        with suppress(ConnectionError):  # the next expectation says that it is closed
            await self._writer.drain()

    async def _reply(self) -> str:
        """One reply, its last line; "" once the server has closed."""
        assert self._reader is not None
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    line = (await self._reader.readline()).decode()
                except ConnectionError:
                    return _CLOSED
                if line[3:4] != "-":
                    return line.rstrip("\r\n")

    async def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await self._writer.wait_closed()
        self._reader = self._writer = None


def _evaluated(expression: str) -> str:
    """The text of an expression of strings, numbers, `+` and `*`."""

    def value(node: ast.expr) -> str | int:
        match node:
            case ast.Constant(value=str() | int() as constant):
                return constant
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
        raise ValueError(f"not an expression of texts: {expression!r}")

    text = value(ast.parse(expression, mode="eval").body)
    assert isinstance(text, str)
    return text
