"""Readiness: each check says why, all are asked together, and not at anybody's pace."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import trustme
from sqlalchemy import Engine

from soboo_mta.net.knock import knock
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.store.writer import Writer
from soboo_mta.web import health
from soboo_mta.web.health import (
    Readiness,
    lease_is_held,
    space_is_free,
    store_is_writable,
)
from soboo_mta.web.metrics.board import Board
from soboo_mta.web.metrics.exposition import Exposition
from soboo_mta.web.metrics.figures import StoreFigures
from soboo_mta.web.monitoring import monitoring
from tests.fakes.clock import FakeClock

LOOPBACK = ip_address("127.0.0.1")


async def test_the_store_is_asked_for_a_commit(writer: Writer, engine: Engine) -> None:
    check = store_is_writable(writer)
    assert await check() == ""
    await writer.close()
    assert "does not take a commit" in await check()


async def test_a_lease_of_this_host_counts_alone(
    writer: Writer, clock: FakeClock
) -> None:
    check = lease_is_held(writer, clock, "here")
    assert await check() == "no worker on here holds a lease"
    lease = WorkerLease(writer=writer, clock=clock)
    await lease.register(host="there", process=1)
    assert await check() == "no worker on here holds a lease"
    await WorkerLease(writer=writer, clock=clock).register(host="here", process=1)
    assert await check() == ""
    await writer.close()
    assert "does not answer" in await check()


async def test_free_space_has_a_bound(tmp_path: Path) -> None:
    assert await space_is_free(tmp_path, 1)() == ""
    assert "MiB are free" in await space_is_free(tmp_path, 1 << 60)()
    assert "No such file" in await space_is_free(tmp_path / "gone", 1)()


async def test_a_check_that_does_not_answer_fails_in_time(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_PATIENCE", health._PATIENCE / 100)
    asked = 0

    async def never() -> str:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return ""

    async def good() -> str:
        return ""

    readiness = Readiness({"stuck": never, "good": good}, clock)
    reports = await asyncio.gather(*(readiness.report() for _ in range(5)))
    assert {one.is_ready for one in reports} == {False}
    assert reports[0].reasons == {"stuck": "no answer within 0.05 s", "good": ""}
    assert asked == 1
    clock.advance(1)
    await readiness.report()
    assert asked == 2


async def test_the_pages_of_monitoring(writer: Writer, clock: FakeClock) -> None:
    reason = ""

    async def check() -> str:
        return reason

    exposition = Exposition(
        boards={"one": Board()},
        store=StoreFigures(writer, clock),
        clock=clock,
        tenants=1,
        next_hops=1,
    )
    app = monitoring(exposition, Readiness({"thing": check}, clock))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/healthz")).json()["status"] == "ok"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        reason = "it is broken"
        clock.advance(1)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {
            "ready": False,
            "checks": {"thing": {"ok": False, "reason": "it is broken"}},
        }
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert "soboo_store_up 1.0" in answer.text
        assert (await client.post("/metrics")).status_code == 405
        assert (await client.get("/v1/messages")).status_code == 404


# ---- knocking


@asynccontextmanager
async def greeting(
    words: bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_listener_is_good_when_it_greets() -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("elsewhere.example").configure_cert(tls)
    for context in (None, tls):
        async with greeting(b"220 here\r\n", context) as port:
            with_tls = context is not None
            assert await knock(LOOPBACK, port, tls=with_tls, say=b"", hear=b"220") == ""
    async with greeting(b"220 here\r\n") as port:
        everywhere = ip_address("0.0.0.0")
        assert await knock(everywhere, port, tls=False, say=b"", hear=b"220") == ""


async def test_a_listener_that_greets_otherwise_or_not_is_not() -> None:
    async with greeting(b"554 no\r\n") as port:
        answer = await knock(LOOPBACK, port, tls=False, say=b"", hear=b"220")
        assert answer == "answered b'554'"
    async with greeting(b"") as port:
        answer = await knock(LOOPBACK, port, tls=False, say=b"", hear=b"220")
        assert answer.startswith("the connection broke")
    async with greeting(b"220 in clear\r\n") as port:
        answer = await knock(LOOPBACK, port, tls=True, say=b"", hear=b"220")
        assert answer.startswith("no connection: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answer = await knock(LOOPBACK, port, tls=False, say=b"", hear=b"220")
    assert answer.startswith("no connection: ")
