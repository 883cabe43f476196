"""The duty that tells others: one holder at a time, and none where nobody wants to hear."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from soboo_mta.cli.context import CliStore, open_store
from soboo_mta.daemon.outlets import duty, feeding
from soboo_mta.daemon.outlets.duty import Outlets
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import the_cursor
from soboo_mta.settings.options import writer_options
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer, read_now, write_now
from tests.fakes.happenings import happened
from tests.fakes.settings import SETTINGS
from tests.fakes.tenancy import MASTER, with_tenants


@dataclass(frozen=True, slots=True)
class Place:
    store: CliStore
    home: Path

    @property
    def kinds(self) -> list[str]:
        """Of each event once: one that was written as its process ended comes again."""
        file = self.home / "events.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        told = {one["id"]: one["type"] for one in map(json.loads, lines)}
        return list(told.values())

    def note(self, kind: EventKind) -> None:
        at = self.store.clock.unix_ms() + 1_000
        write_now(self.store.engine, lambda on: happened(on, kind, at))

    def holder(self) -> str | None:
        query = select(schema.duty.c.holder).where(schema.duty.c.lease_until > 0)
        return read_now(self.store.engine, lambda at: at.scalar(query))

    def has_begun(self) -> bool:
        return (
            read_now(self.store.engine, lambda at: the_cursor(at, "file")) is not None
        )


def _place(home: Path, events: str) -> Place:
    MASTER.write_new(home / "master.key")
    (home / "soboo.toml").write_text(SETTINGS + events)
    place = Place(open_store(home / "soboo.toml"), home)
    write_now(place.store.engine, with_tenants)
    return place


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "_LOOK", 0.02)
    monkeypatch.setattr(feeding, "_POLL", 0.02)


@asynccontextmanager
async def _running(place: Place, holder: str) -> AsyncIterator[None]:
    store = place.store
    writer = Writer(store.engine, options=writer_options(store.settings))
    await writer.start()
    outlets = Outlets(
        settings=store.settings,
        writer=writer,
        clock=store.clock,
        random=Random(1),
        holder=holder,
    )
    task = asyncio.create_task(outlets.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await writer.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_of_two_processes_one_tells_and_the_other_takes_over(
    tmp_path: Path,
) -> None:
    place = _place(tmp_path, '[events]\nfile = "events.jsonl"\n')
    async with _running(place, "two:2"):
        async with _running(place, "one:1"):
            await _until(place.has_begun)
            place.note(EventKind.DOMAIN_AT_RISK)
            await _until(lambda: place.kinds == ["domain-at-risk"])
        place.note(EventKind.DOMAIN_BROKEN)
        await _until(lambda: place.kinds == ["domain-at-risk", "domain-broken"])
        assert place.holder() == "two:2"
    assert place.holder() is None
    place.note(EventKind.DOMAIN_RECOVERED)  # while nobody runs
    async with _running(place, "three:3"):
        await _until(lambda: len(place.kinds) == 3)
    assert place.kinds[-1] == "domain-recovered"


async def test_where_nobody_wants_to_hear_nothing_is_done(tmp_path: Path) -> None:
    place = _place(tmp_path, "")
    async with _running(place, "one:1"):
        place.note(EventKind.DOMAIN_AT_RISK)
        await asyncio.sleep(0.2)
        assert place.holder() is None
        assert not place.has_begun()


async def test_a_file_that_the_settings_no_longer_name_is_forgotten(
    tmp_path: Path,
) -> None:
    place = _place(tmp_path, '[events]\nfile = "events.jsonl"\n')
    async with _running(place, "one:1"):
        await _until(place.has_begun)
    config = tmp_path / "soboo.toml"
    config.write_text(SETTINGS + '[events]\nsyslog = "udp:127.0.0.1:9"\n')
    again = Place(open_store(config), tmp_path)
    async with _running(again, "one:1"):
        await _until(lambda: not again.has_begun())
