"""The way to a webhook against a real receiver over TLS, and all that its owner may try."""

import gzip
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from soboo_mta.mail.errors import FormatError
from soboo_mta.net.outlets.webhook import (
    NotPosted,
    Posted,
    WebhookDoor,
    WebhookOptions,
    parse_webhook_url,
)
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.receiver import HANG, Receiver, answer

HOST = "hook.customer.example"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with made.open(HOST):
        yield made


@pytest.fixture
def dns() -> FakeResolver:
    zones = FakeResolver()
    zones.add(HOST, "A", "127.0.0.1")
    return zones


@pytest.fixture
async def doors() -> AsyncIterator[list[WebhookDoor]]:
    opened: list[WebhookDoor] = []
    yield opened
    for one in opened:
        one.close()


@pytest.fixture
def lab(receiver: Receiver) -> WebhookOptions:
    return WebhookOptions(
        ports=(receiver.port,),
        private_destinations=True,
        timeout=timedelta(seconds=5),
    )


@pytest.fixture
def door(
    receiver: Receiver, dns: FakeResolver, lab: WebhookOptions, doors: list[WebhookDoor]
) -> WebhookDoor:
    doors.append(_door(receiver, dns, lab))
    return doors[-1]


def _door(
    receiver: Receiver,
    dns: FakeResolver,
    options: WebhookOptions,
    url: str = "",
) -> WebhookDoor:
    return WebhookDoor(
        url or f"https://{HOST}:{receiver.port}/in?key=1",
        resolver=dns,
        clock=FakeClock(),
        options=options,
        tls=receiver.trusted(),
    )


def cause(said: Posted | NotPosted) -> str:
    assert isinstance(said, NotPosted), said
    return said.cause


async def test_an_event_is_posted_whole_with_its_fields(
    receiver: Receiver, door: WebhookDoor
) -> None:
    assert await door.post(b'{"a":1}', {"webhook-id": "evt_1"}) == Posted(204)
    (got,) = receiver.got
    assert (got.path, got.body) == ("/in?key=1", b'{"a":1}')
    assert got.fields["host"] == f"{HOST}:{receiver.port}"
    assert got.fields["webhook-id"] == "evt_1"
    assert got.fields["content-type"] == "application/json"


async def test_connections_are_used_again(
    receiver: Receiver, door: WebhookDoor
) -> None:
    for _ in range(5):
        assert await door.post(b"{}", {}) == Posted(204)
    assert receiver.connections == 1


async def test_a_refusal_has_its_first_words_and_what_it_asks_for(
    receiver: Receiver, door: WebhookDoor
) -> None:
    said = answer(503, b"<b>back\x00 at\r\nnoon</b>" + b"x" * 9_000, retry_after="120")
    receiver.behave = lambda _: said
    found = await door.post(b"{}", {})
    assert isinstance(found, Posted)
    assert (found.status, found.retry_after) == (503, timedelta(minutes=2))
    assert found.said.startswith("<b>back at noon</b>xxx")
    assert len(found.said) == 300


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("Thu, 01 Jan 2026 00:01:00 GMT", timedelta(minutes=1)),
        ("Wed, 31 Dec 2025 23:59:00 GMT", timedelta(0)),
        ("soon", None),
        ("-5", None),
        ("Thu, 01 Jan 2026 00:01:00", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(
    receiver: Receiver, door: WebhookDoor, text: str, wait: timedelta | None
) -> None:
    receiver.behave = lambda _: answer(429, retry_after=text)
    assert await door.post(b"{}", {}) == Posted(429, retry_after=wait)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_case_087_no_redirection_is_followed(
    receiver: Receiver, door: WebhookDoor, status: int
) -> None:
    there = f"https://{HOST}:{receiver.port}/there"
    receiver.behave = lambda _: answer(status, location=there)
    found = await door.post(b"{}", {})
    assert isinstance(found, Posted)
    assert (found.status, found.is_accepted) == (status, False)
    assert len(receiver.got) == 1


async def test_case_088_who_hangs_or_closes_is_given_up(
    receiver: Receiver, dns: FakeResolver, lab: WebhookOptions, doors: list[WebhookDoor]
) -> None:
    brief = WebhookOptions(
        ports=lab.ports, private_destinations=True, timeout=timedelta(seconds=0.3)
    )
    doors.append(_door(receiver, dns, brief))
    receiver.behave = lambda _: HANG
    assert cause(await doors[-1].post(b"{}", {})) == "no whole answer within 0.3 s"
    receiver.behave = lambda _: None
    assert "closed before its answer" in cause(await doors[-1].post(b"{}", {}))
    receiver.behave = lambda _: b"220 mail.example ESMTP\r\n\r\n"
    assert cause(await doors[-1].post(b"{}", {}))
    receiver.behave = lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
    assert cause(await doors[-1].post(b"{}", {}))


async def test_case_088_an_endless_answer_is_not_read_to_its_end(
    receiver: Receiver, door: WebhookDoor
) -> None:
    receiver.behave = lambda _: answer(500, b"x" * 5_000_000)
    found = await door.post(b"{}", {})
    assert isinstance(found, Posted)
    assert found.said == "x" * 300
    receiver.behave = lambda _: answer(200)
    assert await door.post(b"{}", {}) == Posted(200)
    assert receiver.connections == 2  # the first was given up


async def test_case_088_a_drop_a_second_and_a_bomb_are_bounded_too(
    receiver: Receiver, dns: FakeResolver, lab: WebhookOptions, doors: list[WebhookDoor]
) -> None:
    brief = WebhookOptions(
        ports=lab.ports, private_destinations=True, timeout=timedelta(seconds=0.4)
    )
    doors.append(_door(receiver, dns, brief))
    receiver.drops = 0.05
    receiver.behave = lambda _: answer(200, b"x" * 1_000)
    assert cause(await doors[-1].post(b"{}", {})) == "no whole answer within 0.4 s"
    receiver.drops = 0.0
    bomb = gzip.compress(b"x" * 10_000_000)
    receiver.behave = lambda _: answer(500, bomb, content_encoding="gzip")
    found = await doors[-1].post(b"{}", {})
    assert isinstance(found, Posted)
    assert len(found.said) <= 300
    receiver.behave = lambda _: b"HTTP/1.1 200 OK\r\nx-a: " + b"x" * 50_000
    assert "has no end" in cause(await doors[-1].post(b"{}", {}))


# ---- where it leads


@pytest.mark.parametrize("host", ["0177.0.0.1", "0x7f.0.0.1", "127.1", "0x7f.1"])
async def test_case_087_other_spellings_of_an_address_are_names_that_dns_lacks(
    receiver: Receiver, dns: FakeResolver, lab: WebhookOptions, host: str
) -> None:
    try:
        door = _door(receiver, dns, lab, f"https://{host}:{receiver.port}/")
        assert cause(await door.post(b"{}", {}))
    finally:
        door.close()
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::7f00:1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
    ],
)
async def test_case_087_no_private_address_is_connected_to(
    receiver: Receiver, dns: FakeResolver, doors: list[WebhookDoor], address: str
) -> None:
    dns.replace(HOST, "AAAA" if ":" in address else "A", address)
    doors.append(_door(receiver, dns, WebhookOptions(ports=(receiver.port,))))
    assert "no public address" in cause(await doors[-1].post(b"{}", {}))
    assert receiver.connections == 0


async def test_case_087_one_private_address_beside_public_ones_is_enough(
    receiver: Receiver, dns: FakeResolver, doors: list[WebhookDoor]
) -> None:
    dns.replace(HOST, "A", "8.8.8.8")
    dns.add(HOST, "AAAA", "::1")
    doors.append(_door(receiver, dns, WebhookOptions(ports=(receiver.port,))))
    assert "leads to ::1" in cause(await doors[-1].post(b"{}", {}))


async def test_case_087_a_name_that_was_public_when_it_was_checked_is_judged_again(
    receiver: Receiver, dns: FakeResolver, doors: list[WebhookDoor]
) -> None:
    """DNS rebinding: public for the check, private for the connection."""
    dns.replace(HOST, "A", "8.8.8.8")
    doors.append(_door(receiver, dns, WebhookOptions(ports=(receiver.port,))))
    assert not isinstance(await doors[-1].addresses(), NotPosted)
    dns.replace(HOST, "A", "127.0.0.1")
    assert "no public address" in cause(await doors[-1].post(b"{}", {}))
    assert receiver.connections == 0


async def test_the_address_that_was_judged_is_the_one_connected_to(
    receiver: Receiver, dns: FakeResolver, door: WebhookDoor
) -> None:
    """The system's own resolver knows no such name: a second look-up would fail."""
    assert await door.post(b"{}", {}) == Posted(204)
    asked = [(name, kind.value) for name, kind in dns.asked]
    assert asked == [(HOST, "A"), (HOST, "AAAA")]


async def test_the_next_address_is_tried_where_one_is_closed(
    receiver: Receiver, dns: FakeResolver, door: WebhookDoor
) -> None:
    dns.replace(HOST, "A", "127.0.0.99")  # nobody listens there
    dns.add(HOST, "A", "127.0.0.1")
    assert await door.post(b"{}", {}) == Posted(204)


async def test_a_certificate_of_another_name_is_refused(
    receiver: Receiver, dns: FakeResolver, lab: WebhookOptions, doors: list[WebhookDoor]
) -> None:
    dns.add("other.example", "A", "127.0.0.1")
    url = f"https://other.example:{receiver.port}/"
    doors.append(_door(receiver, dns, lab, url))
    assert "certificate" in cause(await doors[-1].post(b"{}", {}))
    assert receiver.got == []


async def test_a_name_without_an_address_or_an_answer_is_said(
    receiver: Receiver, dns: FakeResolver, door: WebhookDoor
) -> None:
    dns.remove(HOST)
    assert cause(await door.post(b"{}", {})) == f"{HOST}: it has no address"
    dns.silent = {HOST}
    assert "DNS gave no answer: SERVFAIL" in cause(await door.post(b"{}", {}))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hook.example/", "begins with https://"),
        ("ftp://hook.example/", "begins with https://"),
        ("hook.example", "begins with https://"),
        ("https://", "begins with https://"),
        ("https://user:word@hook.example/", "no user name or password"),
        ("https://hook.example:25/", "port 25 is none of webhooks: 443, 8443"),
        ("https://hook.example:80/", "port 80"),
        ("https://127.0.0.1/", "a name, not an address"),
        ("https://8.8.8.8/", "a name, not an address"),
        ("https://[::1]/", "a name, not an address"),
        ("https://localhost/", "not a fully qualified domain"),
        ("https://hook.example:22/", "port 22"),
        ("https://hook.example:6379/", "port 6379"),
        ("file:///etc/passwd", "begins with https://"),
        ("gopher://hook.example/", "begins with https://"),
        ("https://2130706433/", "not a fully qualified domain"),
        ("https://hook.example/\n", "printable"),
        ("https://[::1", "no URL"),
        (f"https://hook.example/{'x' * 2_000}", "at most 2000"),
    ],
)
def test_case_087_a_url_that_is_none_of_a_webhook_is_refused(
    url: str, said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        parse_webhook_url(url, WebhookOptions())


async def test_in_clear_an_event_goes_to_a_private_address_of_a_lab_alone(
    dns: FakeResolver, doors: list[WebhookDoor]
) -> None:
    receiver = Receiver()
    async with receiver.open(in_clear=True):
        lab = WebhookOptions(ports=(receiver.port,), private_destinations=True)
        for host in ("127.0.0.1", HOST):
            url = f"http://{host}:{receiver.port}/"
            doors.append(_door(receiver, dns, lab, url))
            assert await doors[-1].post(b"{}", {}) == Posted(204)
        dns.replace(HOST, "A", "8.8.8.8")
        assert "nothing goes there in clear" in cause(await doors[-1].post(b"{}", {}))
