"""Whether hostile returns delay the return listener: what another client of it waits.

    .venv/bin/python -m bench.hostile_returns [RETURNS]   # 2,000 by default

A relay with one worker. A client asks NOOP again and again, 5 ms after each answer, and
notes how long each took: first in quiet, then while returns that are made to hurt (MIME
within MIME, ten thousand parts, twenty thousand fields, packed zeros, texts that expressions
stumble over, broken ones of all these) come over three connections and are read. Says the
waits, and what the returns were taken for. The readers, the load and the client share the
machine's cores with the listener.
"""

import asyncio
import gzip
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bench.return_world import (
    RETURN_PORT,
    Relay,
    addresses_of,
    count_of,
    load,
    no_names,
    prepared,
    sink,
)
from soboo_mta.settings import load as load_settings
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import returned
from soboo_mta.store.writer import read_now
from tests.unit.formats.returned_examples import attached, dsn, mail, multipart

_CONNECTIONS = 3
_QUIET = 10.0  # seconds
_BETWEEN = 0.005  # seconds between two questions of the client


async def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"load average of the last minute before: {os.getloadavg()[0]:.2f}")
    async with no_names():
        with tempfile.TemporaryDirectory() as directory:
            return await _round(Path(directory), number)


async def _round(place: Path, number: int) -> int:
    config = prepared(place, workers=1)
    with sink(place), Relay(config) as relay:
        relay.start()
        warm = load(place, 50, 3.0, first=0, name="warm")
        await asyncio.to_thread(warm.wait)
        addresses = addresses_of(config)
        _say("quiet", await _waits(asyncio.create_task(asyncio.sleep(_QUIET))))
        with ProcessPoolExecutor(1) as other:  # the client must not wait for the load
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(other, _hurt_alone, config, addresses, number)
            _say("hostile returns", await _waits(work))
        answers = work.result()
        kept = count_of(config)
        print(f"answers {dict(answers)}; {kept} kept; taken for {_kinds(config)}")
        return 0 if kept >= answers["250"] else 1


def _hurt_alone(config: Path, addresses: Sequence[str], number: int) -> Counter[str]:
    return asyncio.run(_hurt(config, addresses, number))


async def _hurt(config: Path, addresses: Sequence[str], number: int) -> Counter[str]:
    """Bring them, and wait until all are read."""
    answers = Counter[str]()
    turns = iter(range(number))
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_bring(addresses, turns, answers))
    while await asyncio.to_thread(  # noqa: ASYNC110 - the store is asked
        count_of, config, returned.c.due_at.is_not(None)
    ):
        await asyncio.sleep(0.5)
    return answers


async def _bring(
    addresses: Sequence[str], turns: Iterator[int], answers: Counter[str]
) -> None:
    wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for turn in turns:
        try:
            wire = wire or await _greeted()
            reader, writer = wire
            address = addresses[turn % len(addresses)]
            writer.write(f"MAIL FROM:<>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode())
            said = [await _reply(reader) for _ in range(3)]
            if said[2][:3] == b"354":
                writer.write(stuffed(hostile(turn)) + b"\r\n.\r\n")
                await writer.drain()
                said.append(await _reply(reader))
            answers[said[-1][:3].decode()] += 1
        except OSError:
            answers["broken off"] += 1
            wire = None
    if wire is not None:
        wire[1].close()


async def _waits(work: "asyncio.Future[Any]") -> list[float]:
    """How long each NOOP took until `work` is done, in seconds, the shortest first."""
    waits: list[float] = []
    while not work.done():
        with suppress(OSError):
            reader, writer = await _greeted()
            for _ in range(15):  # idle commands are few in a session
                began = time.perf_counter()
                writer.write(b"NOOP\r\n")
                await _reply(reader)
                waits.append(time.perf_counter() - began)
                await asyncio.sleep(_BETWEEN)
            writer.close()
    return sorted(waits)


async def _greeted() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", RETURN_PORT)
    await _reply(reader)
    writer.write(b"EHLO mx.there.example\r\n")
    await _reply(reader)
    return reader, writer


async def _reply(reader: asyncio.StreamReader) -> bytes:
    while (line := await reader.readline())[3:4] == b"-":
        pass
    if not line:
        raise ConnectionResetError
    return line


def _say(when: str, waits: Sequence[float]) -> None:
    at = [waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99, 0.999, 1)]
    over = sum(wait > 0.05 for wait in waits)
    print(
        f"{when}: {len(waits)} NOOPs; answered after"
        f" {' / '.join(f'{1000 * one:.1f}' for one in at)} ms"
        f" (50, 99, 99.9 in 100, most); {over} over 50 ms",
        flush=True,
    )


def _kinds(config: Path) -> dict[str, int]:
    engine = open_engine(load_settings(config).store_url)
    query = select(returned.c.kind, func.count()).group_by(returned.c.kind)
    rows = read_now(engine, lambda at: at.execute(query).all())
    engine.dispose()
    return {str(kind): int(times) for kind, times in rows}


# ---- what hurts


def hostile(turn: int) -> bytes:
    """The return of that number; each fourth is broken at random."""
    chance = random.Random(turn)
    octets = _SHAPES[turn % len(_SHAPES)](chance)
    if turn % 4 == 3:
        octets = _broken(octets, chance)
    return octets


def stuffed(octets: bytes) -> bytes:
    """Lines of SMTP: CRLF, no bare ends, dots doubled, none too long."""
    lines = octets.replace(b"\r", b"").replace(b"\0", b" ").split(b"\n")
    short = (
        line[at : at + 990] for line in lines for at in range(0, len(line) or 1, 990)
    )
    return b"\r\n".join(b"." + one if one[:1] == b"." else one for one in short)


def _broken(octets: bytes, chance: random.Random) -> bytes:
    changed = bytearray(octets)
    for _ in range(chance.randrange(1, 40)):
        changed = changed or bytearray(b"x")
        at = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at : at + chance.randrange(1, 200)]
            case _:
                changed[at:at] = changed[at : at + chance.randrange(1, 200)]
    return bytes(changed)


def _nested(_: random.Random) -> bytes:
    text = "the middle"
    for depth in range(1_000):
        text = (
            f'Content-Type: multipart/mixed; boundary="b{depth}"\r\n\r\n'
            f"--b{depth}\r\n{text}\r\n--b{depth}--\r\n"
        )
    return mail(text, MIME_Version="1.0", Content_Type="message/rfc822")


def _many_parts(_: random.Random) -> bytes:
    part = ("Content-Type: message/delivery-status", "Action: failed\r\nStatus: 5.0.0")
    return multipart("report; report-type=delivery-status", *[part] * 10_000)


def _many_fields(_: random.Random) -> bytes:
    return b"".join(b"X-%d: on and on\r\n" % one for one in range(20_000)) + mail("x")


def _many_recipients(_: random.Random) -> bytes:
    one = "Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n\n"
    return dsn("Reporting-MTA: dns; mx.there.example\n\n" + one * 20_000)


def _packed(_: random.Random) -> bytes:
    return attached(_bomb(), media="application/gzip", name="r!a.example!1!2.xml.gz")


@cache
def _bomb() -> bytes:
    return gzip.compress(b"<feedback>" + b"\0" * 200_000_000, 9)


def _report(chance: random.Random) -> bytes:
    row = (
        "<record><row><source_ip>192.0.2.1</source_ip><count>1</count></row>"
        "<identifiers><header_from>a.example</header_from></identifiers></record>"
    )
    text = (
        "<feedback><report_metadata><org_name>x</org_name><report_id>1</report_id>"
        "<date_range><begin>1</begin><end>2</end></date_range></report_metadata>"
        "<policy_published><domain>a.example</domain></policy_published>"
        + row
        * chance.randrange(1, 30_000)
    )
    packed = gzip.compress(text.encode(), 1)
    return attached(packed, media="application/gzip", name="r!a.example!1!2.xml.gz")


def _words(chance: random.Random) -> bytes:
    word = chance.choice(
        ("please verify ", "<a@b.example>: ", "550 5.1.1 ", "((((", "a ")
    )
    return mail(
        word * 40_000, Subject=word * 60, From="MAILER-DAEMON@x.example", To="x"
    )


def _plain(_: random.Random) -> bytes:
    to = "r1@d0.test"
    return dsn(
        "Reporting-MTA: dns; mx.d0.test\n\n"
        f"Final-Recipient: rfc822; {to}\nAction: failed\nStatus: 5.1.1\n"
    )


def _large(chance: random.Random) -> bytes:
    return mail("x" * chance.randrange(1_000_000, 3_000_000))


_SHAPES: tuple[Callable[[random.Random], bytes], ...] = (
    _plain,
    _nested,
    _many_parts,
    _plain,
    _many_fields,
    _many_recipients,
    _packed,
    _plain,
    _report,
    _words,
    _large,
)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
