"""A load and the next hop that takes it, with the time of each message's two answers.

    python bench/load.py send JSON     # the fields of `Load`
    python bench/load.py sink JSON     # the fields of `Sink`, until SIGTERM

What they found is JSON in the file `result`: the load's at its end, the sink's at SIGUSR1.
Times are of the monotonic clock, which processes of one machine share.
"""

import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import uvloop

_MARK = b"X-Bench: "
_LINE = b"A line of a message, as long as lines of messages are on the average: 76.\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`sessions` submit for `seconds`, together `rate` messages a second (0: as fast as
    they are answered). Messages come from `senders` domains to `destinations`."""

    port: int
    sessions: int
    seconds: float
    octets: int
    result: str
    rate: float = 0
    first: int = 0  # the number of the first message
    senders: int = 1
    destinations: int = 1
    is_tls: bool = False
    is_patient: bool = False  # a connection that breaks is made again


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Listens on each address; with a certificate it offers STARTTLS."""

    addresses: list[str]
    port: int
    result: str
    certificate: str = ""


# ---- the load


@dataclass(slots=True)
class Sender:
    """Numbers the messages of all sessions; `answered` is when each got its 250."""

    load: Load
    began: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Connect all sessions, then send until the time is over."""
        wires = await asyncio.gather(
            *(self._connected() for _ in range(self.load.sessions))
        )
        numbers, start = count(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for reader, writer in wires:
                group.create_task(self._session(reader, writer, numbers, start))
        found = {
            "began": self.began,
            "answered": self.answered,
            "refused": self.refused,
        }
        Path(self.load.result).write_text(json.dumps(found))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = _trusting() if self.load.is_tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.load.port, ssl=context
        )
        if not await _reply(reader):
            raise ConnectionResetError
        writer.write(b"EHLO load.test\r\n")
        await _reply(reader)
        return reader, writer

    async def _session(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        numbers: Iterator[int],
        start: float,
    ) -> None:
        load = self.load
        for number in numbers:
            at = start + number / load.rate if load.rate else time.monotonic()
            if at - start >= load.seconds:
                break
            if load.rate and at > time.monotonic():
                await asyncio.sleep(at - time.monotonic())
            await self._submit(reader, writer, load.first + number, at)
            if load.is_patient and reader.at_eof():
                reader, writer = await self._again()
        writer.close()

    async def _again(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await self._connected()
            except OSError:
                await asyncio.sleep(0.05)

    async def _submit(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        at: float,
    ) -> None:
        sender = f"news@{sending_domain(number % self.load.senders)}"
        to = f"r{number}@{destination(number % self.load.destinations)}"
        envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n"
        self.began[number] = at
        writer.write(envelope.encode())
        for _ in range(3):
            await _reply(reader)
        if reader.at_eof():
            self.refused.append("broken")
            return
        header = (
            f"From: News <{sender}>\r\nTo: {to}\r\nSubject: Message {number}\r\n"
            f"X-Bench: {number}\r\n\r\n"
        ).encode()
        lines = max(1, (self.load.octets - len(header)) // len(_LINE))
        writer.write(header + _LINE * lines + b".\r\n")
        answer = await _reply(reader)
        if answer.startswith(b"250"):
            self.answered[number] = time.monotonic()
        else:
            self.refused.append(answer.decode())


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """The last line of a reply; "" where the connection broke."""
    try:
        while (line := await reader.readline())[3:4] == b"-":
            pass
    except ConnectionError:
        reader.feed_eof()
        return b""
    return line


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def sending_domain(number: int) -> str:
    return f"s{number}.example"


def destination(number: int) -> str:
    return f"d{number}.test"


# ---- the next hop


@dataclass(slots=True)
class Arrivals:
    """Takes everything; `at` is when each message's final dot came."""

    sink: Sink
    at: dict[int, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Take mail until SIGTERM."""
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, over.set)
        loop.add_signal_handler(signal.SIGUSR1, self._tell)
        for address in self.sink.addresses:
            await asyncio.start_server(
                self._serve, address, self.sink.port, limit=2**20, backlog=500
            )
        print("listening", flush=True)
        await over.wait()

    def _tell(self) -> None:
        fresh = Path(f"{self.sink.result}.new")
        fresh.write_text(json.dumps(self.at))
        fresh.replace(self.sink.result)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        offers = b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE\r\n"
        writer.write(b"220 sink.test ESMTP\r\n")
        is_clear = bool(self.sink.certificate)
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 Go ahead\r\n")
                try:
                    await self._take(reader)
                except asyncio.IncompleteReadError:  # the relay was told to stop
                    break
                writer.write(b"250 2.0.0 Taken\r\n")
            elif word == b"EHLO":
                starttls = b"250-STARTTLS\r\n" if is_clear else b""
                writer.write(offers + starttls + b"250 8BITMIME\r\n")
            elif word == b"STAR":
                writer.write(b"220 Go ahead\r\n")
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(self.sink.certificate)
                await writer.start_tls(context)
                is_clear = False
            elif word == b"QUIT":
                break
            else:
                writer.write(b"250 2.0.0 Fine\r\n")
        writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        content = await reader.readuntil(b"\r\n.\r\n")
        now = time.monotonic()
        start = content.index(_MARK) + len(_MARK)
        number = int(content[start : content.index(b"\r\n", start)])
        self.at.setdefault(number, now)


def main() -> None:
    what, asked = sys.argv[1], json.loads(sys.argv[2])
    role = Sender(Load(**asked)) if what == "send" else Arrivals(Sink(**asked))
    uvloop.run(role.run())


if __name__ == "__main__":
    main()
