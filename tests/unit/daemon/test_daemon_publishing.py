"""The duty that keeps zones published: at once, at a change, and after a trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from soboo_mta.cli.context import CliStore, open_store
from soboo_mta.daemon import publishing
from soboo_mta.daemon.publishing import Publishing
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.settings.options import writer_options
from soboo_mta.store.writer import Writer, write_now
from soboo_mta.tenancy.accounts import Tenant, add_tenant
from soboo_mta.tenancy.domains import NewDomain
from soboo_mta.tenancy.keys import add_domain, first_pairs
from tests.fakes.settings import SETTINGS
from tests.fakes.tenancy import MASTER

_ACME = Tenant(
    tenant_id=TenantId("acme"),
    name="Acme",
    suspended=False,
    weight=1,
    hourly_quota=None,
    daily_quota=None,
)
_PUBLISH = """
[publish]
directory = "zones"
reload = ["test", "-e", "{mark}"]
name_servers = ["8.8.8.8"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    store: CliStore
    home: Path

    @property
    def published(self) -> str:
        file = self.home / "zones" / "esp.example.records"
        return file.read_text() if file.exists() else ""

    @property
    def is_due(self) -> bool:
        return (self.home / "zones" / "reload-is-due").exists()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(publishing, "_LOOK", timedelta(milliseconds=5))
    MASTER.write_new(tmp_path / "master.key")
    (tmp_path / "zones").mkdir()
    (tmp_path / "mark").touch()
    config = tmp_path / "soboo.toml"
    config.write_text(SETTINGS + _PUBLISH.replace("{mark}", str(tmp_path / "mark")))
    return Place(open_store(config), tmp_path)


@asynccontextmanager
async def _running(place: Place) -> AsyncIterator[None]:
    store = place.store
    writer = Writer(store.engine, options=writer_options(store.settings))
    await writer.start()
    duty = asyncio.create_task(Publishing(store.settings, writer, store.clock).run())
    try:
        yield
    finally:
        duty.cancel()
        await asyncio.wait([duty])
        await writer.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def _add(store: CliStore) -> str:
    """A customer in mode cname; returns the token of its names."""
    new = NewDomain(tenant=TenantId("acme"), name=Domain("customer.com"))
    pairs = first_pairs(new)
    write_now(
        store.engine,
        lambda at: add_tenant(at, _ACME, now=1),
    )
    made = write_now(
        store.engine, lambda at: add_domain(at, store.master, new, pairs, now=1)
    )
    return made.token


async def test_a_new_customer_is_published_at_once(place: Place) -> None:
    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)
        token = _add(place.store)
        await _until(lambda: f"sb1.{token}.k.esp.example" in place.published)
        assert f"{token}.b.esp.example" in place.published


async def test_a_file_that_the_operator_made_empty_is_filled(place: Place) -> None:
    (place.home / "zones" / "esp.example.records").touch()  # its zone includes it
    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)


async def test_a_server_that_fails_is_told_again(place: Place) -> None:
    (place.home / "mark").unlink()
    async with _running(place):
        await _until(lambda: place.is_due and bool(place.published))
        (place.home / "mark").touch()
        await _until(lambda: not place.is_due)
