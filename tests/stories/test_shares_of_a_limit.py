"""Four workers, a site that takes seven connections, and a worker that dies."""

import asyncio
import os
import signal
from pathlib import Path

from soboo_mta.cli.trial.world import free_ports, world
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import worker
from soboo_mta.store.writer import read_now
from tests.stories.backlog import PacedHost, put_backlog

_TENANTS = """\
[[tenant]]
id = "big"
domain = [{ name = "big.example", assume_verified = true }]
"""
_EXTRA = """
[store]
url = "{url}"

[[routes]]
domain = "*"
next_hop = "127.0.0.1:{host}"
"""
_LIMIT = 7
_WORKERS = 4
_MESSAGES = 2_000


async def test_connections_stay_within_the_limit_over_workers_and_use_it(
    tmp_path: Path, store_url: str
) -> None:
    """The host is the witness: never more than seven at a time, and all seven, before a
    worker is killed and after; nothing is lost."""
    host = PacedHost(0.02)
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    extra = _EXTRA.format(url=store_url, host=server.sockets[0].getsockname()[1])
    (port,) = free_ports(1)
    async with (
        world(
            tmp_path / "world",
            port=port,
            extra=extra,
            workers=_WORKERS,
            environment={"SOBOO_DELIVERY__CONNECTIONS_PER_SITE": str(_LIMIT)},
        ) as place,
        server,
    ):
        await place.command("secret", "generate")
        await place.apply(_TENANTS)
        backlog = {"domain": "big.example", "recipient": "bob@there.test"}
        await asyncio.to_thread(put_backlog, store_url, **backlog, messages=_MESSAGES)
        await place.start_relay()
        await host.until(lambda: len(host.authors) >= 300)
        assert host.most_connections == _LIMIT
        killed = max(_processes(store_url))
        os.kill(killed, signal.SIGKILL)
        host.most_connections = 0
        await host.until(lambda: len(host.authors) >= _MESSAGES)
        assert host.most_connections == _LIMIT
        assert await place.stop_relay() == 0


def _processes(url: str) -> list[int]:
    engine = open_engine(url)
    try:
        rows = read_now(engine, lambda at: at.execute(worker.select()).all())
    finally:
        engine.dispose()
    return [row.process for row in rows if row.lease_until > 0]
