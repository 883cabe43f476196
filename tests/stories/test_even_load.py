"""Connections go to the least busy worker, and to one that has room before any refusal."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import ready_world

_CONNECTIONS = 200
_SPREAD = 0.25  # of an even part: how far a worker may be from it
_ESTABLISHED = "01"


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("at_once", [True, False])
async def test_connections_are_shared_evenly(
    tmp_path: Path, workers: int, at_once: bool
) -> None:
    """Each worker has its even part, a quarter more or less on a busy machine; on an
    idle one it is exact."""
    environment = {"SOBOO_SUBMISSION__MAX_CONNECTIONS_PER_ADDRESS": "200"}
    async with (
        ready_world(tmp_path, workers=workers, environment=environment) as place,
        AsyncExitStack() as clients,
    ):
        await _start(place, workers)
        if at_once:
            calls = (_call(place, clients) for _ in range(_CONNECTIONS))
            greetings = await asyncio.gather(*calls)
        else:
            greetings = [await _call(place, clients) for _ in range(_CONNECTIONS)]
        assert set(greetings) == {"220"}
        even = _CONNECTIONS / workers
        counts = _connections(place)
        assert len(counts) == workers
        assert all(abs(one - even) <= even * _SPREAD for one in counts.values()), counts


async def test_a_worker_at_its_bound_leaves_clients_to_one_that_has_room(
    tmp_path: Path,
) -> None:
    environment = {"SOBOO_SUBMISSION__MAX_CONNECTIONS": "5"}
    async with (
        ready_world(tmp_path, workers=2, environment=environment) as place,
        AsyncExitStack() as clients,
    ):
        await _start(place, 2)
        greetings = [await _call(place, clients) for _ in range(11)]
        assert greetings == ["220"] * 10 + ["421"]
        assert sorted(_connections(place).values()) == [5, 5]


async def _start(place: World, workers: int) -> None:
    await place.start_relay()

    async def are_ready() -> bool:
        return '"ready"' in place.relay_log()

    await place.until("all workers are ready", are_ready)

    async def are_idle() -> bool:
        return not _connections(place)

    await place.until("the first look is over", are_idle)


async def _call(place: World, clients: AsyncExitStack) -> str:
    """Connect and stay, or wait to be shut out; return the code of the greeting."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)

    async def leave() -> None:
        writer.close()
        await writer.wait_closed()

    clients.push_async_callback(leave)
    code = (await reader.readline())[:3].decode()
    if code != "220":
        assert await reader.read() == b""
    return code


def _connections(place: World) -> Counter[str]:
    """How many clients each process below the supervisor has, by its number."""
    assert place.relay is not None
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    clients = {
        f"socket:[{row[9]}]"
        for row in rows
        if int(row[1].partition(":")[2], 16) == place.port and row[3] == _ESTABLISHED
    }
    process = place.relay.pid
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return Counter(
        child
        for child in children
        for one in Path(f"/proc/{child}/fd").iterdir()
        if str(one.readlink()) in clients
    )
