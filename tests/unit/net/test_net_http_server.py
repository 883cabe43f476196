"""The HTTP server: an application on bound sockets, and its end."""

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import trustme
from fastapi import FastAPI

from soboo_mta.net.door import bind
from soboo_mta.net.http_server import HttpServer
from soboo_mta.submission.options import HttpOptions


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
async def serving(
    release: asyncio.Event,
    options: HttpOptions | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[HttpServer, str]]:
    bound = bind("127.0.0.1", 0)
    server = HttpServer(application(release), options=options, tls=tls)
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
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closes just now
        return False
    return True


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _rest(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_head_that_does_not_end_is_cut_off_by_time_and_by_size() -> None:
    soon = HttpOptions(head=timedelta(milliseconds=100))
    for options, head in (
        (soon, b""),
        (soon, b"GET /now HTTP/1.1\r\nHost: x\r\n"),
        (HttpOptions(head_octets=2_000), b"GET /now HTTP/1.1\r\nX: " + b"x" * 1_900),
    ):
        async with serving(asyncio.Event(), options) as (_, url):
            reader, writer = await _connected(url)
            writer.write(head)
            await writer.drain()
            if options is not soon:
                await asyncio.sleep(0.05)  # its first read is the parser's whole
                writer.write(b"x" * 2_000)
            assert await _rest(reader) == b""
            writer.close()


async def test_a_slow_second_head_is_cut_off_too() -> None:
    options = HttpOptions(head=timedelta(milliseconds=200))
    async with serving(asyncio.Event(), options) as (_, url):
        reader, writer = await _connected(url)
        writer.write(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"here")
        writer.write(b"GET /now HTTP/1.1\r\nHo")
        assert b"200 OK" not in await _rest(reader)
        writer.close()


async def test_a_client_too_many_hears_503_and_its_place_comes_free() -> None:
    async with serving(asyncio.Event(), HttpOptions(connections=1)) as (server, url):
        _, first = await _connected(url)
        reader, second = await _connected(url)
        answer = await _rest(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 421
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while server.connections:
                await asyncio.sleep(0.005)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/now")).status_code == 200


async def test_a_client_in_its_handshake_is_counted() -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    options = HttpOptions(connections=1, handshake=timedelta(seconds=20))
    async with serving(asyncio.Event(), options, tls=tls) as (_, url):
        _, silent = await _connected(url)  # says nothing
        reader, second = await _connected(url)
        assert await _rest(reader) == b""
        for writer in (silent, second):
            writer.close()
