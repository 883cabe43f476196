"""Worlds that run for one test, and end well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from tests.fakes.engine import World


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., World]]:
    async with asyncio.TaskGroup() as running:
        worlds: list[World] = []

        async def begin(**options: object) -> World:
            world = World(**options)
            worlds.append(world)
            running.create_task(world.engine.run())
            await world.engine.started.wait()
            return world

        yield begin
        for world in worlds:
            world.connector.gate.set()
            await world.engine.drain(timedelta(seconds=1))
