"""A web site over TLS that says what a test wrote, octet by octet: for HTTP clients."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import trustme


@dataclass
class Site:
    """Answers by path; `None` hangs. `asked` are the heads of all requests, in order."""

    pages: dict[str, bytes | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authority: trustme.CA = field(default_factory=trustme.CA)
    port: int = 0

    def page(self, path: str, body: bytes, status: int = 200, **fields: str) -> None:
        """Let `path` answer; `fields` are header fields, `_` for a hyphen."""
        head = "".join(f"{key.replace('_', '-')}: {fields[key]}\r\n" for key in fields)
        self.pages[path] = (
            f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )

    def trusted(self) -> ssl.SSLContext:
        """What a client needs to believe this site's certificates."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @contextlib.asynccontextmanager
    async def open(self, *names: str) -> AsyncIterator[None]:
        """Listen on loopback with a certificate for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            path = head.split(" ")[1]
            answer = self.pages.get(
                path, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"
            )
            if answer is None:
                await reader.read()  # until the client gives up
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()
