"""The HTTP server: an application on bound sockets, and its end."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from soboo_mta.net.door import bind
from soboo_mta.net.http_server import HttpServer


def application(release: asyncio.Event) -> FastAPI:
    app = FastAPI()

    @app.get("/now")
    async def now() -> str:
        return "here"

    @app.get("/later")
    async def later() -> str:
        await release.wait()
        return "there"

    return app


@asynccontextmanager
async def serving(release: asyncio.Event) -> AsyncIterator[tuple[HttpServer, str]]:
    bound = bind("127.0.0.1", 0)
    server = HttpServer(application(release))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run([bound]))
        await server.started.wait()
        yield server, f"http://127.0.0.1:{bound.getsockname()[1]}"
        server.stop()


async def test_an_application_is_served_on_a_bound_socket() -> None:
    async with serving(asyncio.Event()) as (_, url), httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/now")
    assert (answer.status_code, answer.json()) == (200, "here")


async def test_the_stop_answers_what_is_under_way_and_accepts_no_more() -> None:
    release = asyncio.Event()
    async with serving(release) as (server, url), httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.get(f"{url}/later"))
        await client.get(f"{url}/now")  # on another connection: the first is under way
        server.stop()
        host, port = url.removeprefix("http://").split(":")
        while await asyncio.to_thread(_accepts, host, int(port)):
            await asyncio.sleep(0)
        release.set()
        answer = await waiting
    assert answer.json() == "there"


async def test_signals_stay_the_daemons() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serving(asyncio.Event()):
        assert signal.getsignal(signal.SIGTERM) is before


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
