"""The HTTP client against a real site over TLS, and all that such a site may try."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from soboo_mta.net.http_client import HttpClientOptions, HttpsClient
from soboo_mta.ports import Fetched, NotFetched
from tests.fakes.dns import FakeResolver
from tests.fakes.site import Site

HOST = "dc.provider.example"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with made.open(HOST):
        yield made


@pytest.fixture
def dns() -> FakeResolver:
    zones = FakeResolver()
    zones.add(HOST, "A", "127.0.0.1")
    return zones


@pytest.fixture
def client(site: Site, dns: FakeResolver) -> HttpsClient:
    return HttpsClient(
        resolver=dns,
        options=HttpClientOptions(octets=1_000, private_destinations=True),
        tls=site.trusted(),
    )


def cause(answer: Fetched | NotFetched) -> str:
    assert isinstance(answer, NotFetched), answer
    return answer.cause


async def test_a_page_comes_whole_with_its_status(
    site: Site, client: HttpsClient
) -> None:
    site.page("/there", b'{"a": 1}')
    url = f"https://{HOST}:{site.port}"
    assert await client.get(f"{url}/there") == Fetched(200, b'{"a": 1}')
    assert await client.get(f"{url}/gone") == Fetched(404, b"")
    (head, _) = site.asked
    assert f"host: {HOST}:{site.port}\r\n" in head.lower()
    assert "accept-encoding: identity\r\n" in head.lower()


async def test_a_peer_that_hangs_is_given_up(site: Site, dns: FakeResolver) -> None:
    site.pages["/slow"] = None
    brief = HttpsClient(
        resolver=dns,
        options=HttpClientOptions(
            private_destinations=True, lifetime=timedelta(seconds=0.5)
        ),
        tls=site.trusted(),
    )
    answer = await brief.get(f"https://{HOST}:{site.port}/slow")
    assert cause(answer).endswith("no whole answer within 0.5 s")
    assert len(site.asked) == 1


async def test_a_body_over_the_bound_is_not_taken(
    site: Site, client: HttpsClient
) -> None:
    site.page("/exact", b"x" * 1_000)
    site.page("/over", b"x" * 1_001)
    url = f"https://{HOST}:{site.port}"
    assert await client.get(f"{url}/exact") == Fetched(200, b"x" * 1_000)
    assert "over 1000 octets" in cause(await client.get(f"{url}/over"))


async def test_what_is_compressed_unasked_is_not_taken(
    site: Site, client: HttpsClient
) -> None:
    site.page("/bomb", gzip.compress(b"x" * 100_000), content_encoding="gzip")
    answer = await client.get(f"https://{HOST}:{site.port}/bomb")
    assert "compressed" in cause(answer)


async def test_a_redirection_over_https_is_followed(
    site: Site, client: HttpsClient
) -> None:
    site.page("/a", b"", status=301, location="/b")
    site.page("/b", b"", status=302, location=f"https://{HOST}:{site.port}/c")
    site.page("/c", b"here")
    answer = await client.get(f"https://{HOST}:{site.port}/a")
    assert answer == Fetched(200, b"here")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (f"http://{HOST}/", "not over https"),
        ("file:///etc/passwd", "not over https"),
        ("https://127.0.0.1/", "is an address"),
        ("https://localhost/", "not a fully qualified domain"),
        ("https://user:word@provider.example/", "a name or a password"),
        ("https://[::1", "Invalid URL in location header"),
        ("/loop", "over 3 redirections"),
    ],
)
async def test_a_redirection_elsewhere_is_not_followed(
    site: Site, client: HttpsClient, location: str, said: str
) -> None:
    site.page("/loop", b"", status=302, location=location)
    answer = await client.get(f"https://{HOST}:{site.port}/loop")
    assert said in cause(answer)


async def test_a_certificate_of_another_name_is_refused(
    site: Site, client: HttpsClient, dns: FakeResolver
) -> None:
    dns.add("other.example", "A", "127.0.0.1")
    answer = await client.get(f"https://other.example:{site.port}/")
    assert "certificate" in cause(answer)
    assert site.asked == []


async def test_a_certificate_of_an_unknown_authority_is_refused(
    site: Site, dns: FakeResolver
) -> None:
    client = HttpsClient(
        resolver=dns, options=HttpClientOptions(private_destinations=True)
    )
    answer = await client.get(f"https://{HOST}:{site.port}/")
    assert "certificate verify failed" in cause(answer)
    assert site.asked == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"],
)
async def test_private_addresses_are_not_connected_to(
    site: Site, dns: FakeResolver, address: str
) -> None:
    dns.replace(HOST, "AAAA" if ":" in address else "A", address)
    client = HttpsClient(resolver=dns, tls=site.trusted())
    answer = await client.get(f"https://{HOST}:{site.port}/")
    assert "private address" in cause(answer)
    assert site.asked == []


async def test_the_addresses_of_a_redirection_are_judged_too(
    site: Site, client: HttpsClient, dns: FakeResolver
) -> None:
    dns.add("inner.example", "A", "0.0.0.0")  # this host, where connected to
    site.page("/", b"", status=302, location=f"https://inner.example:{site.port}/")
    answer = await client.get(f"https://{HOST}:{site.port}/")
    assert "inner.example leads to a private address, 0.0.0.0" in cause(answer)
    assert len(site.asked) == 1


async def test_the_next_address_is_tried_where_one_is_closed(
    site: Site, dns: FakeResolver, client: HttpsClient
) -> None:
    dns.replace(HOST, "A", "127.0.0.99")  # nobody listens there
    dns.add(HOST, "A", "127.0.0.1")
    site.page("/", b"here")
    answer = await client.get(f"https://{HOST}:{site.port}/")
    assert answer == Fetched(200, b"here")


async def test_a_host_without_an_address_or_an_answer_is_said(
    client: HttpsClient, dns: FakeResolver
) -> None:
    assert "nobody.example has no address" in cause(
        await client.get("https://nobody.example/")
    )
    dns.silent = {"silent.example"}
    assert "SERVFAIL" in cause(await client.get("https://silent.example/"))


async def test_a_peer_that_speaks_nonsense_is_a_cause_and_no_fault(
    site: Site, client: HttpsClient
) -> None:
    site.pages["/odd"] = b"220 mail.example ESMTP\r\n"
    site.pages["/cut"] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
    for path in ("/odd", "/cut"):
        answer = await client.get(f"https://{HOST}:{site.port}{path}")
        assert isinstance(answer, NotFetched)


async def test_a_cancelled_get_is_cancelled(site: Site, client: HttpsClient) -> None:
    site.pages["/slow"] = None
    async with asyncio.timeout(5):
        asking = asyncio.create_task(client.get(f"https://{HOST}:{site.port}/slow"))
        while not site.asked:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
