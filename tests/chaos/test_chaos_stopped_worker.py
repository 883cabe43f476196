"""SIGSTOP a worker past its lease, then SIGCONT: its work is taken over, it does no harm,
nothing is lost; stopped for less than its lease, it forgets nothing."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, and_, select

from soboo_mta.cli.trial.world import World
from soboo_mta.spool.lease import LeaseOptions
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import recipient, worker
from soboo_mta.store.writer import read_now
from tests.chaos.campaign import Campaign
from tests.chaos.held_host import HeldHost
from tests.chaos.ready_world import ready_world, store_url
from tests.chaos.sender import Client, keep_submitting, written
from tests.chaos.stopped import stopped

_HELD = "held.test"
_ADDRESS = "127.0.0.9"
_SESSIONS = 4
_LEASE = LeaseOptions()
_PATIENCE = 60.0  # seconds for each thing waited for
_TAKEN_OVER_WITHIN = 5.0  # seconds: what is promised


@pytest.fixture
async def campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Campaign]:
    """Two workers; one connection to each site, so that claims wait in memory too."""
    monkeypatch.setenv("SOBOO_DELIVERY__CONNECTIONS_PER_SITE", "1")
    async with ready_world(tmp_path, workers=2) as place:
        made = Campaign(place, Random(3), store_url(place))
        place.zones.write_destination(_HELD, _ADDRESS)
        made.begin_life()
        await place.start_relay()
        yield made


async def test_case_139_no_final_dot_is_sent_after_the_lease_was_lost(
    campaign: Campaign,
) -> None:
    place, host = campaign.place, HeldHost()
    port = place.lab.sink_port
    server = await asyncio.start_server(host.serve, _ADDRESS, port)
    mail = written("held", (f"ann@{_HELD}",), b"x" * 900)
    client = await Client.connect(place)
    await client.submit(mail)
    client.close()
    assert mail.is_acknowledged
    await _until(place, "it waits at DATA", lambda: host.ends == ["held"])
    process = await _holder(place, mail.recipients[0])
    async with stopped(place, process):
        since = time.monotonic()
        await _until(place, "another takes it over", lambda: host.ends[1:] == ["dot"])
        assert time.monotonic() - since < _TAKEN_OVER_WITHIN
        host.go_on.set()  # 354 waits for the stopped one to read it
        await _until(place, "354 was said", lambda: host.ends[0] == "asked")
    await _until(place, "the old one gives up", lambda: host.ends[0] != "asked")
    assert host.ends == ["gone", "dot"]
    assert "lease_lost" in place.relay_log()
    assert await place.stop_relay(signal.SIGTERM) == 0
    server.close()


async def test_a_killed_workers_work_is_taken_over_in_time(campaign: Campaign) -> None:
    place, host = campaign.place, HeldHost()
    server = await asyncio.start_server(host.serve, _ADDRESS, place.lab.sink_port)
    mail = written("held", (f"ann@{_HELD}",), b"x" * 900)
    client = await Client.connect(place)
    await client.submit(mail)
    client.close()
    await _until(place, "it waits at DATA", lambda: host.ends == ["held"])
    since = time.monotonic()
    os.kill(await _holder(place, mail.recipients[0]), signal.SIGKILL)
    await _until(place, "another takes it over", lambda: host.ends[1:] == ["dot"])
    assert time.monotonic() - since < _TAKEN_OVER_WITHIN
    host.go_on.set()
    assert await place.stop_relay(signal.SIGTERM) == 0
    server.close()


async def test_case_139_under_load_a_stopped_worker_loses_nothing(
    campaign: Campaign,
) -> None:
    place = campaign.place

    async def meanwhile(process: int) -> None:
        async with stopped(place, process):
            await _until_read(place, "its lease is buried", _is_buried)

    await _under_load(campaign, meanwhile)
    assert "lease_lost" in place.relay_log()


async def test_under_load_a_worker_stopped_for_less_than_its_lease_forgets_nothing(
    campaign: Campaign,
) -> None:
    """Inside the margin it must not work, but nobody else may take its claims."""
    place = campaign.place
    middle = (_LEASE.length - _LEASE.margin / 2).total_seconds()

    async def meanwhile(process: int) -> None:
        async with stopped(place, process):
            await asyncio.sleep(middle)  # the time itself is what is tested

    await _under_load(campaign, meanwhile)


async def _under_load(
    campaign: Campaign, meanwhile: Callable[[int], Awaitable[None]]
) -> None:
    """Submit, let `meanwhile` stop one worker, submit on; then nothing may be lost."""
    place, is_over = campaign.place, asyncio.Event()
    mails = iter(lambda: campaign.post.mail(0), None)
    async with asyncio.TaskGroup() as group:
        for _ in range(_SESSIONS):
            group.create_task(keep_submitting(place, mails, until=is_over, quickly=20))
        await _until(place, "mail flows", lambda: len(place.lab.records) > 10)
        async with campaign.disturbed("a worker stopped"):
            await meanwhile(await _any_worker(place))
        seen = len(place.lab.records)
        await _until(place, "mail flows", lambda: len(place.lab.records) > seen)
        is_over.set()
    found = await campaign.settle()
    assert not found.wrong, found.wrong
    assert not campaign.damaged
    assert found.acknowledged > 40


# ---- what the store knows


async def _holder(place: World, address: str) -> int:
    """The process that has the claim of a recipient."""
    query = (
        select(worker.c.process)
        .join(
            recipient,
            and_(
                recipient.c.worker == worker.c.number,
                recipient.c.epoch == worker.c.epoch,
            ),
        )
        .where(recipient.c.address == address)
    )
    return int(await _read(place, lambda at: at.scalar(query)))


async def _any_worker(place: World) -> int:
    query = select(worker.c.process).where(worker.c.lease_until > 0)
    return int(await _read(place, lambda at: at.scalar(query)))


def _is_buried(connection: Connection) -> bool:
    query = select(worker.c.number).where(worker.c.lease_until == 0)
    return connection.execute(query).first() is not None


async def _read(place: World, function: Callable[[Connection], Any]) -> Any:
    engine = open_engine(store_url(place))
    try:
        return await asyncio.to_thread(read_now, engine, function)
    finally:
        engine.dispose()


async def _until_read(
    place: World, what: str, question: Callable[[Connection], bool]
) -> None:
    async def asked() -> bool:
        return bool(await _read(place, question))

    await place.until(what, asked, _PATIENCE)


async def _until(place: World, what: str, question: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return bool(question())

    await place.until(what, asked, _PATIENCE)
