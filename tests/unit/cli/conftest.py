"""A folder with settings and a master key, and its store; a name server to ask."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from soboo_mta.cli.context import CliStore, open_store
from soboo_mta.lab.dns.server import NameServer
from soboo_mta.lab.dns.zones import ZoneDirectory
from tests.fakes.settings import SETTINGS
from tests.fakes.tenancy import MASTER


@pytest.fixture
def config(tmp_path: Path) -> Path:
    MASTER.write_new(tmp_path / "master.key")
    path = tmp_path / "soboo.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def store(config: Path) -> CliStore:
    return open_store(config)


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[int]:
    """A name server of its own thread: each command has a loop of its own."""
    (tmp_path / "zones").mkdir()
    loop = asyncio.new_event_loop()
    server = NameServer(ZoneDirectory(tmp_path / "zones"), address="127.0.0.1", port=0)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server.port
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
