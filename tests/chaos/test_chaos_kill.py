"""kill -9 at named points of acceptance and settlement: what got 250 arrives."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import create_engine, text

from tests.chaos.campaign import Campaign
from tests.chaos.points import POINTS, SURE_DUPLICATES
from tests.chaos.ready_world import ready_world, store_url

ROUNDS = int(os.environ.get("SOBOO_CHAOS_ROUNDS", "25"))
SEED = int(os.environ.get("SOBOO_CHAOS_SEED", str(Random().getrandbits(32))))
_FEWER = (  # for PostgreSQL and for several workers, where rounds are dear
    "before the accepting commit",
    "after the hand-over, before 250",
    "after the reply",
    "in the claim of due mail",
    "after the settling commit",
)


async def test_case_121_124_what_got_250_survives_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ready_world(tmp_path) as place:
        campaign = Campaign(place, Random(SEED), store_url(place))
        await _kept_through(campaign, ROUNDS, tuple(POINTS), capsys)


async def test_case_121_124_what_got_250_survives_kills_on_postgresql(
    tmp_path: Path, postgresql_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"chaos_{os.getpid()}"
    _admin(postgresql_server, f"CREATE DATABASE {name} TEMPLATE template")
    url = postgresql_server.replace("/postgres?", f"/{name}?")
    extra = f'\n[store]\nurl = "{url}"\n'
    try:
        async with ready_world(tmp_path, extra=extra) as place:
            campaign = Campaign(place, Random(SEED), url)
            await _kept_through(campaign, max(5, ROUNDS // 5), _FEWER, capsys)
    finally:
        _admin(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


async def test_case_121_124_what_got_250_survives_kills_of_a_worker_or_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ready_world(tmp_path, workers=2) as place:
        campaign = Campaign(place, Random(SEED), store_url(place), processes=2)
        await _kept_through(campaign, max(5, ROUNDS // 5), _FEWER, capsys)


async def _kept_through(
    campaign: Campaign,
    rounds: int,
    points: Sequence[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run the campaign; nothing may be lost, invented, unaligned or twice for nothing."""
    began = time.monotonic()
    await campaign.run(rounds, tuple(points))
    killed = time.monotonic() - began
    found = await campaign.finish()
    with capsys.disabled():
        print(
            f"\nchaos: {rounds} kills at {len(campaign.hits)} points in {killed:.0f} s"
            f" (+ {time.monotonic() - began - killed:.0f} s to drain), seed {SEED}:"
            f" {len(campaign.post.sent)} messages, {found.acknowledged} recipients"
            f" acknowledged, {found.unanswered} arrived without 250,"
            f" {found.duplicates} duplicates, {len(found.lost)} lost"
        )
    assert not found.wrong, (SEED, found.wrong)
    assert not campaign.damaged, (SEED, campaign.damaged)
    assert found.acknowledged > rounds
    if rounds >= len(points):
        assert set(campaign.hits) == set(points)
    # The kill after a reply must show: else neither the points nor the count are real.
    assert found.duplicates >= sum(campaign.hits[name] for name in SURE_DUPLICATES)


def _admin(url: str, command: str) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(text(command))
    engine.dispose()
