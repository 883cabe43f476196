"""What benches of returns share: a relay with a return listener, its DNS, load and next hop."""

import asyncio
import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
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

_PORT, RETURN_PORT, _SINK_PORT, _DNS_PORT = 26191, 26192, 26025, 26193
_HOST = Domain("bounce.s0.example")
_LISTENER = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {RETURN_PORT}
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


def addresses_of(config: Path) -> list[str]:
    """The signed reverse-paths of what was delivered."""
    settings = load_settings(config)
    verp = VerpSigner(*verp_keys(settings))
    until = int(time.time() * 1_000) + 86_400_000
    engine = open_engine(settings.store_url)
    query = select(recipient.c.message_id).where(recipient.c.state == "delivered")
    found = read_now(engine, lambda at: at.scalars(query).all())
    engine.dispose()
    return [str(verp.address(MessageId(one), 0, until, _HOST)) for one in found]


def count_of(config: Path, *terms: object) -> int:
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
async def no_names() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        _NoNames, local_addr=("127.0.0.1", _DNS_PORT)
    )
    try:
        yield
    finally:
        transport.close()


# ---- the relay, the load, the next hop


def prepared(place: Path, *, workers: int | None = None) -> Path:
    directory = place / "relay"
    directory.mkdir()
    config = directory / "soboo.toml"
    text = prepare.CONFIG.format(
        directory=directory,
        port=_PORT,
        workers=workers or os.cpu_count(),
        connections=40,
    )
    text = text.replace("127.0.0.1:9", f"127.0.0.1:{_DNS_PORT}")
    config.write_text(text + _LISTENER)
    tenants = directory / "tenants.toml"
    tenants.write_text(_TENANTS)
    for words in (["secret", "generate"], ["apply", "-f", str(tenants)]):
        command = [sys.executable, "-m", "soboo_mta", *words, "--config", str(config)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return config


class Relay:
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
        for port in (_PORT, RETURN_PORT):
            while not _answers(port):
                time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "Relay":
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
def sink(place: Path) -> Iterator[None]:
    asked = Sink(addresses=["127.0.0.1"], port=_SINK_PORT, result=str(place / "sink"))
    process = _tool("sink", asked, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def load(
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
