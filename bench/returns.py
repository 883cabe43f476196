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
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from soboo_mta.store.schema import returned
from tests.unit.formats.returned_examples import dsn

_CONNECTIONS = 10


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
    async with no_names():
        for killing in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                place = Path(directory)
                faults += await _round(place, mail, rate, seconds, killing=killing)
    return 1 if faults else 0


async def _round(
    place: Path, mail: float, rate: float, seconds: float, *, killing: bool
) -> int:
    config = prepared(place)
    with sink(place), Relay(config) as relay:
        relay.start()
        warm = load(place, mail, 5.0, first=0, name="warm")
        await asyncio.to_thread(warm.wait)
        addresses = addresses_of(config)
        sending = load(place, mail, seconds, first=1_000_000, name="load")
        bringing = asyncio.create_task(_bring(addresses, rate, seconds))
        if killing:
            await asyncio.sleep(seconds / 2)
            relay.kill()
            relay.start()
        brought = await bringing
        await asyncio.to_thread(sending.wait)
        unread = count_of(config, returned.c.due_at.is_not(None))
        behind = time.monotonic()
        while count_of(config, returned.c.due_at.is_not(None)):  # noqa: ASYNC110 - the store is asked
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
    kept, read = count_of(config), count_of(config, returned.c.kind == "dsn")
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
                wire = await asyncio.open_connection("127.0.0.1", RETURN_PORT)
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


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
