"""A webhook's receiver over TLS on loopback, which behaves as a test wants; and the check
of a signature, written from the text of the Standard Webhooks specification."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trustme

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
HANG = b""
"""No answer, for as long as the client waits."""


def answer(status: int, body: bytes = b"", **fields: str) -> bytes:
    """An answer; `fields` are header fields, `_` for a hyphen."""
    head = "".join(f"{key.replace('_', '-')}: {fields[key]}\r\n" for key in fields)
    length = len(body)
    return (
        f"HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{head}\r\n".encode()
        + body
    )


@dataclass(frozen=True)
class Got:
    """One request that came."""

    path: str
    fields: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """`behave` says what a request is answered: octets, HANG, or None to close."""

    behave: Callable[[Got], bytes | None] = lambda _: OK
    got: list[Got] = field(default_factory=list)
    accepted: list[Got] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    delay: float = 0.0  # seconds before each answer
    drops: float = 0.0  # seconds between an answer's octets
    authority: trustme.CA = field(default_factory=trustme.CA)
    port: int = 0
    _now: int = 0
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    def trusted(self) -> ssl.SSLContext:
        """What a client needs to believe this receiver's certificate."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @contextlib.asynccontextmanager
    async def open(self, *names: str, in_clear: bool = False) -> AsyncIterator[None]:
        """Listen on loopback with a certificate for `names`."""
        context = None
        if not in_clear:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority.issue_cert(*names).configure_cert(context)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task, writer in list(self._open.items()):
                task.cancel()
                writer.transport.abort()
            await asyncio.gather(*list(self._open), return_exceptions=True)
            await asyncio.sleep(0)  # the transports close their sockets

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        task.add_done_callback(self._open.pop)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        fields = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        got = Got(lines[0].split(" ")[1], fields, body)
        self.got.append(got)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            said = self.behave(got)
            if said is None:
                return False
            if said == HANG:
                await reader.read()  # until the client gives up
                return False
            await asyncio.sleep(self.delay)
            if said.startswith(b"HTTP/1.1 2"):
                self.accepted.append(got)
            for octet in said if self.drops else ():
                writer.write(bytes((octet,)))
                await asyncio.sleep(self.drops)
            if not self.drops:
                writer.write(said)
                await writer.drain()
            return True
        finally:
            self._now -= 1


def verified(got: Got, secret: str, *, now: float | None = None) -> bool:
    """Whether one of the signatures is that of `secret`, as the specification says it:

    "The signature scheme for symmetric signatures is HMAC-SHA256; the signed content is
    the id, timestamp and payload, separated by full-stops; the secret is base64 and
    prefixed with whsec_; the header is a space delimited list of signatures, each with its
    version identifier and a comma before it."
    """
    timestamp = int(got.fields["webhook-timestamp"])
    if abs((time.time() if now is None else now) - timestamp) > 300:
        return False
    key = base64.b64decode(secret[len("whsec_") :])
    content = b".".join(
        (
            got.fields["webhook-id"].encode(),
            got.fields["webhook-timestamp"].encode(),
            got.body,
        )
    )
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
    for versioned in got.fields["webhook-signature"].split(" "):
        version, _, signature = versioned.partition(",")
        if version == "v1" and hmac.compare_digest(signature.encode(), expected):
            return True
    return False
