"""Who a client is behind a proxy, and that nobody else says so (case 43)."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

import pytest
import trustme
import uvloop

from soboo_mta.net import door
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.fakes.submission import (
    HOST,
    MESSAGE,
    Client,
    Desk,
    desk,
    emptied,
    listening,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIES = (ip_network("127.0.0.0/8"),)
GOOD = "AUTH PLAIN AGFjbWUAczNjcmV0"


def line(client: str, family: str = "TCP4") -> bytes:
    """A header of version 1."""
    ours = "::1" if family == "TCP6" else "192.0.2.1"
    return f"PROXY {family} {client} {ours} 40000 587\r\n".encode()


def binary(client: str, *, command: int = 1, more: bytes = b"") -> bytes:
    """A header of version 2."""
    is_ipv6 = ":" in client
    kind = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    address = socket.inet_pton(kind, client)
    body = address + address + struct.pack("!HH", 40_000, 587) + more
    head = bytes((0x20 | command, 0x21 if is_ipv6 else 0x11))
    return SIGNATURE + head + struct.pack("!H", len(body)) + body


async def greeted(port: int, header: bytes) -> tuple[Client, str]:
    client = await Client.connect(port)
    client.write(header)
    return client, await client.reply()


def trusting() -> Desk:
    """A desk for which 198.51.100.0/24 needs no login."""
    networks = (ip_network("198.51.100.0/24"),)
    return desk(AcceptanceOptions(host_name=HOST, trusted_networks=networks))


HEADERS = [
    line("198.51.100.7"),
    line("::ffff:198.51.100.7", "TCP6"),
    binary("198.51.100.7"),
    binary("::ffff:198.51.100.7"),
    binary("198.51.100.7", more=b"\x04\x00\x03abc"),  # a TLV that nobody needs
]


@pytest.mark.parametrize("header", HEADERS)
async def test_case_043_the_client_that_a_proxy_names_is_the_one_that_counts(
    header: bytes,
) -> None:
    one = trusting()
    async with listening(one, proxies=PROXIES) as (_, port):
        client, said = await greeted(port, header)
        assert said.startswith("220")
        await client.say("EHLO c.example")
        assert (await client.send(MESSAGE)).startswith("250")
        await client.close()
    assert one.spool.kept[0].client == "198.51.100.7"


@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("header", HEADERS[::2])
def test_case_043_what_follows_a_header_at_once_is_the_clients(
    loop: Callable[[], asyncio.AbstractEventLoop], header: bytes
) -> None:
    async def pipelined() -> None:
        one = trusting()
        async with listening(one, proxies=PROXIES) as (_, port):
            client = await Client.connect(port)
            client.write(header + b"EHLO c.example\r\nNOOP\r\nQUIT\r\n")
            codes = [(await client.reply())[:3] for _ in range(4)]
            assert codes == ["220", "250", "250", "221"]
            assert await client.closed()
            await client.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(pipelined())


async def test_case_043_a_header_that_comes_octet_by_octet_is_read() -> None:
    one = trusting()
    async with listening(one, proxies=PROXIES) as (_, port):
        for header in HEADERS:
            client = await Client.connect(port)
            for octet in header:
                client.write(bytes([octet]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.reply()).startswith("220")
            await client.close()


async def test_case_043_behind_a_proxy_tls_begins_after_the_header() -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    asking = ssl.create_default_context()
    authority.configure_trust(asking)
    one = trusting()
    async with listening(one, tls=serving, implicit_tls=True, proxies=PROXIES) as (
        _,
        port,
    ):
        client = await Client.connect(port)
        client.write(line("198.51.100.7"))
        await client.start_tls(asking)
        assert (await client.reply()).startswith("220")
        await client.say("EHLO c.example")
        assert (await client.send(MESSAGE)).startswith("250")
        await client.close()
    assert one.spool.kept[0].client == "198.51.100.7"


@pytest.mark.parametrize("header", [line("198.51.100.7"), binary("198.51.100.7")])
async def test_case_043_a_header_from_anyone_else_ends_the_connection(
    header: bytes,
) -> None:
    one = trusting()
    others = (ip_network("192.0.2.0/24"),)
    async with listening(one, proxies=others) as (server, port):
        client, said = await greeted(port, b"")
        assert said.startswith("220")
        client.write(header + b"EHLO c.example\r\nMAIL FROM:<a@acme.example>\r\n")
        assert (await client.reply()).startswith("554 5.5.1")
        assert await client.closed()
        await client.close()
        await emptied(server)
    assert one.spool.kept == []
    assert one.log.errors == []


async def test_case_043_xclient_is_no_command() -> None:
    async with listening(trusting(), proxies=PROXIES) as (_, port):
        client, _ = await greeted(port, line("203.0.113.5"))
        assert "XCLIENT" not in await client.say("EHLO c.example")
        said = await client.say("XCLIENT ADDR=198.51.100.7")
        assert said.startswith("500 5.5.1")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530")
        await client.close()


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO c.example\r\n",
        b"PROXY TCP4 198.51.100.7\r\n",
        b"PROXY TCP4 x 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 198.51.100.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 198.51.100.7 192.0.2.1 1 99999\r\n",
        b"PROXY TCP4 198.51.100.7 192.0.2.1 1 2\n",
        b"PROXY " + b"x" * 5_000,
        binary("198.51.100.7").replace(b"\x21\x11", b"\x31\x11"),
        binary("198.51.100.7", command=7),
        SIGNATURE + b"\x21\x11\0\x04abcd",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_case_043_a_proxy_that_sends_no_good_header_is_closed(
    header: bytes,
) -> None:
    one = trusting()
    async with listening(one, proxies=PROXIES) as (server, port):
        client = await Client.connect(port)
        client.write(header)
        assert await client.closed()
        await client.close()
        await emptied(server)
    assert [fact for fact, _ in one.log.facts] == ["proxy_refused"]
    assert one.log.errors == []


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", binary("198.51.100.7", command=0)]
)
async def test_case_043_a_proxy_that_speaks_for_itself_is_the_client(
    header: bytes,
) -> None:
    one = trusting()
    async with listening(one, proxies=PROXIES) as (_, port):
        client, said = await greeted(port, header)
        assert said.startswith("220")
        await client.say("EHLO c.example")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530")
        assert (await client.say(GOOD)).startswith("235")
        assert (await client.send(MESSAGE)).startswith("250")
        await client.close()
    assert one.spool.kept[0].client == "127.0.0.1"


async def test_case_043_a_header_that_never_comes_is_closed() -> None:
    options = ListenerOptions(handshake_timeout=timedelta(milliseconds=100))
    one = trusting()
    async with listening(one, options, proxies=PROXIES) as (_, port):
        client = await Client.connect(port)
        client.write(b"PROXY TCP4 198.51.1")
        assert await client.closed()
        await client.close()
    assert one.log.facts == [
        ("proxy_refused", "127.0.0.1: PROXY header not sent in time")
    ]


async def test_case_043_headers_awaited_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "_MAX_HEADERS_AWAITED", 2)
    async with listening(trusting(), proxies=PROXIES) as (_, port):
        silent = [await Client.connect(port) for _ in range(2)]
        third = await Client.connect(port)
        third.write(line("198.51.100.7"))
        assert await third.closed()
        for client in silent:
            client.write(line("198.51.100.7"))
            assert (await client.reply()).startswith("220")
        for client in (*silent, third):
            await client.close()


async def test_case_043_limits_are_the_clients_and_not_the_proxys() -> None:
    options = ListenerOptions(max_connections_per_address=1)
    async with listening(trusting(), options, proxies=PROXIES) as (_, port):
        first, said = await greeted(port, line("198.51.100.7"))
        assert said.startswith("220")
        second, said = await greeted(port, binary("198.51.100.7"))
        assert said.startswith("421 4.7.0")
        third, said = await greeted(port, line("198.51.100.8"))
        assert said.startswith("220")
        for client in (first, second, third):
            await client.close()


async def test_case_009_a_secret_in_clear_does_not_cross_a_proxy() -> None:
    """The proxy may call its client loopback: between us lies a network all the same."""
    one = trusting()
    async with listening(one, proxies=PROXIES) as (_, port):
        client, _ = await greeted(port, line("203.0.113.5"))
        assert "AUTH" not in await client.say("EHLO c.example")
        assert (await client.say(GOOD)).startswith("538 5.7.11")
        await client.close()
    far = door.Caller(client=PROXIES[0][1], peer=ip_network("192.0.2.0/24")[1])
    assert not far.is_local
