"""TLS reports by HTTPS: taken from anybody, bounded, committed before the answer."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address

import httpx
import pytest

from soboo_mta.net.door import bind
from soboo_mta.net.http_server import HttpServer
from soboo_mta.net.smtp_server import Limits, SharedTimes
from soboo_mta.returns.reports.door import MAX_PACKED, MAX_PLAIN, MEDIA, ReportDoor
from soboo_mta.spool.returned.keeping import Keeping
from soboo_mta.spool.returned.view import (
    KeptReturn,
    ReturnFilter,
    content,
    list_returns,
)
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.store.writer import Writer
from soboo_mta.submission.options import HttpOptions, InjectOptions, ListenerOptions
from soboo_mta.web.inject.api import api
from soboo_mta.web.inject.submit import Submissions
from soboo_mta.web.reports import FROM_ALL, FROM_ONE, PostedOften, report_routes
from tests.fakes.clock import FakeClock
from tests.fakes.returns import ReturnLog
from tests.fakes.submission import desk
from tests.fakes.tls_reports import EXPIRED, HOST, octets, policy, tls_report

PATH = "/tls-reports"
PACKED, PLAIN = MEDIA
REPORT = tls_report(policy(HOST, EXPIRED), ends_at=1_800_000_000_000)


class FakeKeeping(Keeping):
    """A store that may be full or away."""

    is_full = False
    is_away = False

    @property
    def has_room(self) -> bool:
        return not self.is_full and super().has_room

    async def keep(self, arrived: object) -> None:
        if self.is_away:
            raise StoreUnavailable("gone")
        await super().keep(arrived)  # type: ignore[arg-type]  # as it was given


@dataclass
class Door:
    client: httpx.AsyncClient
    keeping: FakeKeeping
    writer: Writer
    limits: Limits
    log: ReturnLog

    async def post(self, body: bytes, media: str = PACKED) -> httpx.Response:
        return await self.client.post(
            PATH, content=body, headers={"content-type": media}
        )

    async def kept(self) -> tuple[KeptReturn, ...]:
        return await self.writer.read(
            lambda at: list_returns(at, ReturnFilter(), limit=1_000)
        )


@pytest.fixture
async def door(writer: Writer, clock: FakeClock) -> AsyncIterator[Door]:
    listener = ListenerOptions()
    limits, log = Limits(listener), ReturnLog()
    one = desk()
    app = api(
        Submissions(
            acceptance=one.acceptance,
            limits=limits,
            listener=listener,
            options=InjectOptions(),
        ),
        lambda _: asyncio.sleep(0),
    )
    keeping = FakeKeeping(writer=writer, clock=clock, least=0)
    app.include_router(
        report_routes(
            path=PATH,
            door=ReportDoor(
                keeping=keeping, clock=clock, log=log, url=f"https://esp.example{PATH}"
            ),
            often=PostedOften(SharedTimes(), clock.monotonic),
            limits=limits,
            listener=listener,
        )
    )
    server = HttpServer(
        app, options=HttpOptions(request_octets=20 << 20), limits=limits
    )
    bound = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run([bound]))
        await server.started.wait()
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield Door(client, keeping, writer, limits, log)
        server.stop()
    assert limits.admission.buffered == 0


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (PACKED, octets(REPORT, packed=True)),
        (PLAIN, octets(REPORT)),
        (f"{PLAIN}; charset=utf-8".upper(), b"\xef\xbb\xbf\r\n" + octets(REPORT)),
        (PLAIN, octets(REPORT, packed=True)),
    ],
)
async def test_a_report_is_kept_octet_for_octet_before_its_201(
    door: Door, media: str, body: bytes
) -> None:
    answer = await door.post(body, media)
    assert answer.status_code == 201
    assert answer.json() == {
        "code": 250,
        "status": "2.0.0",
        "text": "The report is kept, and read in a moment",
    }
    (row,) = await door.kept()
    octets_kept = await door.writer.read(lambda at: content(at, row.returned_id))
    assert octets_kept is not None
    head, _, kept_body = octets_kept.partition(b"\r\n\r\n")
    assert kept_body == body
    assert f"Content-Type: {media.partition(';')[0].lower()}\r\n".encode() in head
    assert (row.door, row.protocol, row.client) == ("tls-https", "HTTPS", "127.0.0.1")
    (fact,) = door.log.facts
    assert fact[0] == "return_kept"


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", PLAIN, 422),
        (b"hello", PACKED, 422),
        (b"[1, 2]", PLAIN, 422),
        (b"%PDF-1.4", PACKED, 422),
        (octets(REPORT), "application/json", 415),
        (octets(REPORT), "", 415),
        (octets(REPORT), "application/tlsrpt", 415),
        (b"\x1f\x8b" + b"x" * MAX_PACKED, PACKED, 413),
        (b"{" + b" " * MAX_PLAIN, PLAIN, 413),
    ],
)
async def test_what_is_no_report_is_refused_with_a_reason_and_not_kept(
    door: Door, body: bytes, media: str, status: int
) -> None:
    answer = await door.post(body, media)
    assert answer.status_code == status
    assert answer.json()["text"]
    assert await door.kept() == ()


async def test_a_body_that_says_no_length_is_bounded_too(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"{" + b" " * 65_535

    answer = await door.client.post(
        PATH, content=endless(), headers={"content-type": PACKED}
    )
    assert answer.status_code == 413
    assert await door.kept() == ()


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b" " * (100 << 20)),
        b'{"policies": ' + b"[" * 10_000,
        b"{broken",
    ],
    ids=["bomb", "deep", "broken"],
)
async def test_nothing_is_unpacked_or_parsed_where_it_is_taken(
    door: Door, body: bytes
) -> None:
    assert (await door.post(body)).status_code == 201
    assert len(await door.kept()) == 1


async def test_no_space_and_no_store_are_503_and_can_be_tried_again(
    door: Door,
) -> None:
    body = octets(REPORT, packed=True)
    door.keeping.is_full = True
    full = await door.post(body)
    door.keeping.is_full, door.keeping.is_away = False, True
    away = await door.post(body)
    assert [full.status_code, away.status_code] == [503, 503]
    assert "retry-after" in full.headers
    assert [str(error) for error in door.log.errors] == ["gone"]
    assert await door.kept() == ()
    door.keeping.is_away = False
    assert (await door.post(body)).status_code == 201


async def test_who_posts_too_often_is_told_to_wait(door: Door) -> None:
    body = octets(REPORT, packed=True)
    codes = [(await door.post(body)).status_code for _ in range(FROM_ALL + 1)]
    assert codes == [201] * FROM_ALL + [429]
    assert len(await door.kept()) == FROM_ALL


def test_each_client_has_a_share_of_its_own_but_for_a_proxy_here(
    clock: FakeClock,
) -> None:
    often = PostedOften(SharedTimes(), clock.monotonic)
    one, other = ip_address("192.0.2.1"), ip_address("2001:db8::1")
    assert all(often.may_post(one) for _ in range(FROM_ONE))
    assert not often.may_post(one)
    assert often.may_post(other)
    left = FROM_ALL - FROM_ONE - 1
    assert all(often.may_post(ip_address("127.0.0.1")) for _ in range(left))
    assert not often.may_post(ip_address("127.0.0.1"))
    clock.advance(60)
    assert often.may_post(one)


async def test_other_methods_and_paths_are_what_they_were(door: Door) -> None:
    assert (await door.client.get(PATH)).status_code == 405
    assert (await door.client.post(f"{PATH}/x", content=b"{}")).status_code == 404
    schema = (await door.client.get("/v1/openapi.json")).json()
    assert PATH not in schema["paths"]
