"""A scripted SMTP peer: an asyncio server that plays one transcript a connection.

Lines of a script: `S: text` is sent; `C: text` must be what the client says next (`*` at the
end matches any rest); `DATA` takes a content up to the final dot into `contents`; `DROP`
closes, `RESET` closes with RST, `HANG` says nothing more, `PAUSE` says nothing for half a
second, `TLS` does the handshake.
"""

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.ports import HopAddress, Transaction

GREETING = ["S: 220 peer.example ESMTP", "C: EHLO *"]
PIPELINING = [
    *GREETING,
    "S: 250-peer.example",
    "S: 250-PIPELINING",
    "S: 250-SIZE 100000",
    "S: 250-SMTPUTF8",
    "S: 250 8BITMIME",
]
PLAIN = [*GREETING, "S: 250 peer.example"]
ACCEPT = [
    "C: MAIL FROM:*",
    "C: RCPT TO:*",
    "C: DATA",
    "S: 250 2.1.0 ok",
    "S: 250 2.1.5 ok",
    "S: 354 go on",
    "DATA",
    "S: 250 2.0.0 queued",
]
ACCEPT_IN_STEP = [
    "C: MAIL FROM:*",
    "S: 250 2.1.0 ok",
    "C: RCPT TO:*",
    "S: 250 2.1.5 ok",
    "C: DATA",
    "S: 354 go on",
    "DATA",
    "S: 250 2.0.0 queued",
]
CONTENT = b"Subject: x\r\n\r\nhello\r\n.dot\r\n..two\r\n"
QUIT = ["C: QUIT", "S: 221 bye"]


@dataclass
class Peer:
    """Plays `scripts` in the order of connections; the last one repeats."""

    scripts: list[list[str]]
    said: list[str] = field(default_factory=list)  # what clients said, in order
    contents: list[bytes] = field(default_factory=list)  # as on the wire, dots stuffed
    wrong: list[str] = field(default_factory=list)  # departures from the script
    connections: int = 0
    tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> "Peer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self._open: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    @property
    def hop(self) -> HopAddress:
        return HopAddress(
            host="peer.example", address=ip_address("127.0.0.1"), port=self._port
        )

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self._open.add(writer)
        try:
            for step in script:
                if not await self._play(step, reader, writer):
                    break
            else:
                await reader.read()  # until the client closes
        except (OSError, asyncio.IncompleteReadError) as error:
            self.wrong.append(f"the client left: {error!r}")
        finally:
            self._open.discard(writer)
            writer.close()

    async def _play(
        self, step: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match step[:3]:
            case "S: ":
                writer.write(step[3:].encode("latin-1") + b"\r\n")
                await writer.drain()
            case "C: ":
                line = (await reader.readuntil(b"\r\n")).decode().removesuffix("\r\n")
                self.said.append(line)
                wanted = step[3:]
                is_same = (
                    line.startswith(wanted[:-1])
                    if wanted.endswith("*")
                    else line == wanted
                )
                if not is_same:
                    self.wrong.append(f"{line!r} instead of {wanted!r}")
            case _:
                return await self._act(step, reader, writer)
        return True

    async def _act(
        self, step: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match step:
            case "DATA":
                content = b"\r\n"
                while not content.endswith(b"\r\n.\r\n"):
                    content += await reader.readuntil(b"\r\n")
                self.contents.append(content[2:])
            case "DROP":
                return False
            case "RESET":
                sock = writer.get_extra_info("socket")
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            case "HANG":
                await reader.read()
            case "PAUSE":
                await asyncio.sleep(0.5)
            case "TLS":
                await writer.start_tls(self.tls)
            case _:
                raise ValueError(step)
        return True


def a_transaction(*recipients: str, **rest: object) -> Transaction:
    facts: dict[str, object] = {
        "octets": (CONTENT,),
        "eight_bit": False,
        "smtputf8": False,
        **rest,
    }
    return Transaction(
        reverse_path=ReversePath(parse_mailbox("b-1@bounce.customer.example")),
        recipients=tuple(map(parse_mailbox, recipients or ("bob@there.example",))),
        **facts,
    )
