"""How long an old key signs after the command that takes it out of use, under load.

    .venv/bin/python -m bench.rotation [RATE] [ROUNDS]     # 320 a second and 3 by default

A relay with a worker a core, a lab with its name server and sinks, and 32 connections that
submit, on one machine. Each round is a fresh relay, an emergency rotation five seconds into
the load, and five seconds more. Every message is then judged by the DNS of the moment it came:
the command fails where one was unsigned, unaligned or signed with a revoked key.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from soboo_mta.cli.trial.world import World
from soboo_mta.events.event import EventKind
from soboo_mta.lab.record import MessageRecord
from soboo_mta.store import schema
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import read_now
from tests.chaos.ready_world import DOMAIN, USER, ready_world, store_url
from tests.stories.load import Load, steady_load

_CONNECTIONS = 32
_SECONDS = 5.0  # of load before the command, and after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Times in seconds from the start of the command; rates a second, over the load."""

    accepted: float
    delivered: float
    messages: int
    harmed: int
    with_old: int  # after the start of the command
    last_old: float
    activated: float  # the next key had become the active one in the store
    fenced: float  # the command had ended, p= could be emptied


async def main() -> int:
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 320
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(f"load average of the last minute before: {os.getloadavg()[0]:.2f}")
    harmed = 0
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as directory:
            one = await _round(Path(directory) / "world", rate)
        harmed += one.harmed
        print(
            f"round {number}: {one.accepted:.0f} accepted and {one.delivered:.0f}"
            f" delivered a second, {one.messages} messages, {one.harmed} harmed;"
            f" {one.with_old} with the old key after the command began, the last one"
            f" {one.last_old:.2f} s after, {one.last_old - one.activated:.2f} s after the"
            f" swap in the store; fenced and revoked after {one.fenced:.2f} s",
            flush=True,
        )
    return 1 if harmed else 0


async def _round(directory: Path, rate: float) -> Round:
    async with ready_world(directory, workers=2, judging_late=True) as place:
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "bea@beta.test"),
            rate=rate,
        )
        async with steady_load(load, _CONNECTIONS):
            await load.more_delivered(100)  # connections are open, keys are read
            accepted, received = len(load.accepted), place.lab.received
            began = time.monotonic()
            await asyncio.sleep(_SECONDS)
            commanded = time.time()
            words = ("key", "rotate", DOMAIN, "--emergency", "--yes", "--json")
            said = json.loads(await place.command(*words))
            fenced, fenced_at = time.time() - commanded, place.lab.received
            await place.publish_operator()
            await asyncio.sleep(_SECONDS)
            lasted = time.monotonic() - began
            accepted, received = (
                len(load.accepted) - accepted,
                place.lab.received - received,
            )
        if load.cut_off:
            raise load.cut_off[0]
        await place.lab.wait_for(len(load.accepted), 120)
        records = await place.lab.judge_late()
        activated = _activated_at(place) - commanded
    old = said["retired"][0]["selector"]
    late = [
        record.received_at.timestamp() - commanded
        for record in records
        if _selector(record) == old and record.received_at.timestamp() > commanded
    ]
    lost = len(load.accepted) - len({r.verdict.message_id for r in records})
    return Round(
        accepted=accepted / lasted,
        delivered=received / lasted,
        messages=len(records),
        harmed=lost
        + sum(not _is_good(record) for record in records)
        + sum(_selector(record) == old for record in records[fenced_at:]),
        with_old=len(late),
        last_old=max(late, default=0.0),
        activated=activated,
        fenced=fenced,
    )


def _activated_at(place: World) -> float:
    """Unix seconds, as the command noted it in the transaction that swapped the keys."""
    engine = open_engine(store_url(place))
    column = schema.event.c
    query = select(func.max(column.at)).where(column.kind == EventKind.KEY_ACTIVATED)
    found = read_now(engine, lambda at: at.scalar(query))
    engine.dispose()
    return int(found or 0) / 1_000


def _selector(record: MessageRecord) -> str:
    return record.verdict.dkim[0].s if record.verdict.dkim else ""


def _is_good(record: MessageRecord) -> bool:
    verdict = record.verdict
    return (
        len(verdict.dkim) == 1
        and verdict.dkim[0].result == "pass"
        and f"DKIM d={DOMAIN}" in verdict.aligned_by
        and verdict.dmarc == "pass"
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
