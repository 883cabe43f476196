"""The guard of free space: low below the bound, good again by itself, cheap."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from soboo_mta.store.embedded.space import FreeSpace
from soboo_mta.store.engine import open_engine
from tests.fakes.clock import FakeClock


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the file system says; `looks` counts how often it is asked."""
    told = SimpleNamespace(free=1_000, looks=0, is_gone=False)

    def statvfs(_place: Path) -> SimpleNamespace:
        told.looks += 1
        if told.is_gone:
            raise OSError(5, "Input/output error")
        return SimpleNamespace(f_bavail=told.free, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return told


def guard(engine: Engine, clock: FakeClock, least: int = 500) -> FreeSpace:
    return FreeSpace(engine, least=least, monotonic=clock.monotonic)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_case_126_low_space_is_seen_soon_and_ends_by_itself(
    engine: Engine, clock: FakeClock, disk: SimpleNamespace
) -> None:
    space = guard(engine, clock)
    assert not space.is_low
    disk.free = 499
    clock.advance(0.3)
    assert space.is_low
    disk.free = 500
    clock.advance(0.3)
    assert not space.is_low


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_thousand_messages_at_once_are_one_look(
    engine: Engine, clock: FakeClock, disk: SimpleNamespace
) -> None:
    space = guard(engine, clock)
    for _ in range(1_000):
        assert not space.is_low
    assert disk.looks == 1


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_file_system_that_does_not_answer_is_not_low(
    engine: Engine, clock: FakeClock, disk: SimpleNamespace
) -> None:
    disk.is_gone = True
    assert not guard(engine, clock).is_low


def test_nothing_is_asked_with_a_bound_of_0_nor_of_a_postgresql(
    sqlite_url: str, postgresql_server: str, clock: FakeClock, disk: SimpleNamespace
) -> None:
    disk.free = 0
    for url, least in ((sqlite_url, 0), (postgresql_server, 500)):
        engine = open_engine(url)
        assert not guard(engine, clock, least).is_low
        engine.dispose()
    assert disk.looks == 0
