"""When a process of ours ends by itself: at a signal, or with its supervisor."""

import asyncio
import os

import pytest

from soboo_mta.daemon import control
from soboo_mta.daemon.control import told_to_stop


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PARENT_LOOK", control.timedelta(milliseconds=5))


async def test_it_ends_with_its_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.create_task(told_to_stop(os.getppid()))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    await asyncio.wait_for(waiting, 5)


async def test_a_supervisor_that_died_before_the_first_look_is_missed() -> None:
    await asyncio.wait_for(told_to_stop(os.getpid()), 5)  # nobody's child of itself


async def test_without_a_supervisor_it_outlives_the_shell_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    monkeypatch.setattr(os, "getppid", lambda: looks.append(1) or len(looks))
    waiting = asyncio.create_task(told_to_stop(None))
    await asyncio.sleep(0.05)  # ten looks, each with another parent
    assert not waiting.done()
    waiting.cancel()
