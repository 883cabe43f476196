"""Keys give way at three hundred messages a second, planned and in an emergency.

Every message is judged by the DNS of the moment it came, after the load: judges would
slow it down. What is asserted is an order, never a time; `bench/rotation.py` measures.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import update

from soboo_mta.cli.trial.world import World
from soboo_mta.lab.record import MessageRecord
from soboo_mta.store import schema
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import write_now
from tests.chaos.ready_world import DOMAIN, USER, ready_world, store_url
from tests.stories.load import Load, steady_load

RATE = 300  # messages a second
CONNECTIONS = 32
LOOKS = '[signing]\nlook_every = "1s"\n'


@asynccontextmanager
async def loaded(directory: Path) -> AsyncIterator[tuple[World, Load]]:
    """A relay of two workers under load; what was accepted is delivered at the end."""
    async with ready_world(
        directory, workers=2, extra=LOOKS, judging_late=True
    ) as place:
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "bea@beta.test"),
            rate=RATE,
        )
        async with steady_load(load, CONNECTIONS):
            yield place, load
        assert not load.cut_off
        await place.lab.wait_for(len(load.accepted), 60)


async def judged(place: World, load: Load) -> list[MessageRecord]:
    """All that came: nothing missing, each with one signature that is good and aligned."""
    records = list(await place.lab.judge_late())
    verdicts = [record.verdict for record in records]
    assert sorted(verdict.message_id for verdict in verdicts) == sorted(load.accepted)
    assert {len(verdict.dkim) for verdict in verdicts} == {1}
    assert {verdict.dkim[0].result for verdict in verdicts} == {"pass"}
    assert all(f"DKIM d={DOMAIN}" in verdict.aligned_by for verdict in verdicts)
    assert {verdict.dmarc for verdict in verdicts} == {"pass"}
    return records


def selector(record: MessageRecord) -> str:
    return record.verdict.dkim[0].s


async def states(place: World) -> dict[str, str]:
    keys = json.loads(await place.command("key", "list", DOMAIN, "--json"))
    return {key["selector"]: key["state"] for key in keys}


async def test_in_an_emergency_nothing_leaves_with_the_old_key_after_the_fence(
    tmp_path: Path,
) -> None:
    async with loaded(tmp_path / "world") as (place, load):
        await load.more_delivered(300)
        words = ("key", "rotate", DOMAIN, "--emergency", "--yes", "--json")
        said = json.loads(await place.command(*words))
        fenced_at = place.lab.received
        await place.publish_operator()
        await load.more_delivered(300)
    records = await judged(place, load)
    old, new = said["retired"][0]["selector"], said["activated"][0]["selector"]
    assert {selector(record) for record in records} == {old, new}
    assert {selector(record) for record in records[fenced_at:]} == {new}
    assert (await states(place))[old] == "revoked"
    with_old = sum(selector(record) == old for record in records)
    shown = await place.command(
        "key", "signed", str(said["retired"][0]["key"]), "--json"
    )
    assert sum(one["delivered"] for one in json.loads(shown)) == with_old


async def test_on_schedule_the_old_key_stays_published_and_no_message_is_harmed(
    tmp_path: Path,
) -> None:
    async with loaded(tmp_path / "world") as (place, load):
        await load.more_delivered(300)
        _age_the_key(place)

        async def has_rotated() -> bool:
            return (await states(place)).get("sb2") == "active"

        await place.until("the next key signs", has_rotated)
        await place.publish_operator()
        await load.more_delivered(600)
    records = await judged(place, load)
    used = [selector(record) for record in records]
    assert (used[0], used[-1]) == ("sb1", "sb2")
    assert set(used) == {"sb1", "sb2"}
    assert await states(place) == {"sb1": "retiring", "sb2": "active", "sb3": "next"}


def _age_the_key(place: World) -> None:
    """As if the key had signed for longer than `[signing] rotate_days`."""
    engine = open_engine(store_url(place))
    column = schema.dkim_key.c
    write_now(
        engine,
        lambda at: at.execute(
            update(schema.dkim_key)
            .where(column.state == "active")
            .values(activated_at=1)
        ),
    )
    engine.dispose()
