"""Returns while mail leaves: how many a second come in, are read, and none is lost.

    .venv/bin/python -m bench.returns [MAIL] [RETURNS] [SECONDS]   # 500, 200 and 20 by default

A relay with a worker a core, a load and a next hop of our own (bench/load.py) on the same
machine; after some seconds of mail, bounces of 3 KB come to the signed reverse-paths of
what was delivered, over ten connections at a steady rate. In the middle of a second round
every process of the relay is killed (SIGKILL) and started again. Says the rates, how long a
return waited for its 250, how far behind reading was at the end, and fails where a return
with a 250, or a message with one, is not there.
"""

import asyncio
import json
import os
import signal
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from bench import prepare
from bench.load import Load, Sink
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.settings import load as load_settings
from soboo_mta.settings.options import verp_keys
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import recipient, returned
from soboo_mta.store.writer import read_now
from tests.unit.formats.returned_examples import dsn

_PORT, _RETURN_PORT, _SINK_PORT, _DNS_PORT = 26191, 26192, 26025, 26193
_HOST = Domain("bounce.s0.example")
_CONNECTIONS = 10
_LISTENER = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {_RETURN_PORT}
tls = "none"
[returns]
max_connections_per_address = 100
"""
_TENANTS = """\
[[tenant]]
id = "bench"
[[tenant.domain]]
name = "s0.example"
mode = "cname"
assume_verified = true
"""


@dataclass(slots=True)
class Brought:
    """What clients of the return listener saw; waits in seconds, dot to 250."""

    taken: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: int = 0


async def main() -> int:
    mail, rate, seconds = (
        float(word)
        for word in (*sys.argv[1:4], *("500", "200", "20")[len(sys.argv) - 1 :])
    )
    print(f"load average of the last minute before: {os.getloadavg()[0]:.2f}")
    faults = 0
    async with _no_names():
        for killing in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                place = Path(directory)
                faults += await _round(place, mail, rate, seconds, killing=killing)
    return 1 if faults else 0


async def _round(
    place: Path, mail: float, rate: float, seconds: float, *, killing: bool
) -> int:
    config = _prepared(place)
    with _sink(place), _Relay(config) as relay:
        relay.start()
        warm = _load(place, mail, 5.0, first=0, name="warm")
        await asyncio.to_thread(warm.wait)
        addresses = _addresses(config)
        sending = _load(place, mail, seconds, first=1_000_000, name="load")
        bringing = asyncio.create_task(_bring(addresses, rate, seconds))
        if killing:
            await asyncio.sleep(seconds / 2)
            relay.kill()
            relay.start()
        brought = await bringing
        await asyncio.to_thread(sending.wait)
        unread = _count(config, returned.c.due_at.is_not(None))
        behind = time.monotonic()
        while _count(config, returned.c.due_at.is_not(None)):  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.1)
        behind = time.monotonic() - behind
        return _judged(place, config, brought, seconds, unread, behind, killing)


def _judged(
    place: Path,
    config: Path,
    brought: Brought,
    seconds: float,
    unread: int,
    behind: float,
    killing: bool,
) -> int:
    kept, read = _count(config), _count(config, returned.c.kind == "dsn")
    sent = json.loads((place / "load.json").read_text())
    answered = len(sent["answered"])
    lost = max(0, len(brought.taken) - kept)
    waits = sorted(brought.waits) or [0.0]
    print(
        f"{'killed in the middle' if killing else 'undisturbed'}:"
        f" {answered / seconds:.0f} messages accepted and"
        f" {len(brought.taken) / seconds:.0f} returns taken a second;"
        f" to 250 {1000 * statistics.median(waits):.1f} ms in the median,"
        f" {1000 * waits[int(0.99 * len(waits))]:.1f} of 99 in 100,"
        f" {1000 * waits[-1]:.0f} at most; {unread} not read at the end, read"
        f" {behind:.1f} s later; {len(brought.taken)} taken, {kept} kept, {read} read,"
        f" {lost} lost; {brought.broken} connections broken,"
        f" {len(brought.refused)} refused {brought.refused[:1]}",
        flush=True,
    )
    return lost + (kept - read)


# ---- the returns


async def _bring(addresses: Sequence[str], rate: float, seconds: float) -> Brought:
    brought, start = Brought(), time.monotonic()
    turns = iter(range(int(rate * seconds)))
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_connection(addresses, rate, start, turns, brought))
    return brought


async def _connection(
    addresses: Sequence[str],
    rate: float,
    start: float,
    turns: Iterator[int],
    brought: Brought,
) -> None:
    wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for number in turns:
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
        address = addresses[number % len(addresses)]
        try:
            if wire is None:
                wire = await asyncio.open_connection("127.0.0.1", _RETURN_PORT)
                await _reply(wire[0])
                wire[1].write(b"EHLO mx.d0.test\r\n")
                await _reply(wire[0])
            await _one(*wire, address, number, brought)
        except OSError:
            brought.broken += 1
            wire = None
            await asyncio.sleep(0.05)
    if wire is not None:
        wire[1].close()


async def _one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    address: str,
    number: int,
    brought: Brought,
) -> None:
    writer.write(f"MAIL FROM:<>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode())
    said = [await _reply(reader) for _ in range(3)]
    if not said[2].startswith(b"354"):
        brought.refused.append(repr(said))
        return
    began = time.monotonic()
    writer.write(_bounce(number) + b".\r\n")
    answer = await _reply(reader)
    if answer.startswith(b"250"):
        brought.taken.append(address)
        brought.waits.append(time.monotonic() - began)
    else:
        brought.refused.append(repr(answer))


async def _reply(reader: asyncio.StreamReader) -> bytes:
    while (line := await reader.readline())[3:4] == b"-":
        pass
    if not line:
        raise ConnectionResetError
    return line


def _bounce(number: int) -> bytes:
    to = f"r{number}@d0.test"
    words = "This text stands for the explanation that such a report has.\n" * 30
    return dsn(
        "Reporting-MTA: dns; mx.d0.test\n\n"
        f"Final-Recipient: rfc822; {to}\nAction: failed\nStatus: 5.1.1\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{to}>: user unknown\n"
        f"X-Words: {words.replace(chr(10), ' ')}\n"
    )


def _addresses(config: Path) -> list[str]:
    """The signed reverse-paths of what was delivered."""
    settings = load_settings(config)
    verp = VerpSigner(*verp_keys(settings))
    until = int(time.time() * 1_000) + 86_400_000
    engine = open_engine(settings.store_url)
    query = select(recipient.c.message_id).where(recipient.c.state == "delivered")
    found = read_now(engine, lambda at: at.scalars(query).all())
    engine.dispose()
    return [str(verp.address(MessageId(one), 0, until, _HOST)) for one in found]


def _count(config: Path, *terms: object) -> int:
    engine = open_engine(load_settings(config).store_url)
    query = select(func.count()).select_from(returned).where(*terms)  # type: ignore[arg-type]
    number = read_now(engine, lambda at: at.scalar(query))
    engine.dispose()
    return int(number or 0)


# ---- DNS


class _NoNames(asyncio.DatagramProtocol):
    """Answers each question with NXDOMAIN, at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5  # the question, without what EDNS adds
        head = data[:2] + b"\x81\x83\0\1\0\0\0\0\0\0"
        self._transport.sendto(head + data[12:end], addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def _no_names() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        _NoNames, local_addr=("127.0.0.1", _DNS_PORT)
    )
    try:
        yield
    finally:
        transport.close()


# ---- the relay, the load, the next hop


def _prepared(place: Path) -> Path:
    directory = place / "relay"
    directory.mkdir()
    config = directory / "soboo.toml"
    text = prepare.CONFIG.format(
        directory=directory, port=_PORT, workers=os.cpu_count(), connections=40
    )
    text = text.replace("127.0.0.1:9", f"127.0.0.1:{_DNS_PORT}")
    config.write_text(text + _LISTENER)
    tenants = directory / "tenants.toml"
    tenants.write_text(_TENANTS)
    for words in (["secret", "generate"], ["apply", "-f", str(tenants)]):
        command = [sys.executable, "-m", "soboo_mta", *words, "--config", str(config)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return config


class _Relay:
    """All processes of one relay, in a group of their own."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it takes mail and returns."""
        command = (sys.executable, "-m", "soboo_mta", "serve", "--config")
        with (self._config.parent / "relay.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for port in (_PORT, _RETURN_PORT):
            while not _answers(port):
                time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "_Relay":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _answers(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=5):
            return True
    except (OSError, smtplib.SMTPException):
        return False


@contextmanager
def _sink(place: Path) -> Iterator[None]:
    asked = Sink(addresses=["127.0.0.1"], port=_SINK_PORT, result=str(place / "sink"))
    process = _tool("sink", asked, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _load(
    place: Path, rate: float, seconds: float, *, first: int, name: str
) -> "subprocess.Popen[bytes]":
    asked = Load(
        port=_PORT,
        sessions=30,
        seconds=seconds,
        octets=10_240,
        rate=rate,
        is_patient=True,
        first=first,
        result=str(place / f"{name}.json"),
    )
    return _tool("send", asked)


def _tool(what: str, asked: Load | Sink, **more: int) -> "subprocess.Popen[bytes]":
    file = str(Path(__file__).with_name("load.py"))
    return subprocess.Popen(
        [sys.executable, file, what, json.dumps(asdict(asked))], **more
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
