"""Implicit TLS with a client quicker than we are: its ClientHello is there at accept."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop

from tests.fakes.submission import desk, listening


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_client_hello_that_comes_at_once_is_not_lost(
    loop: Callable[[], asyncio.AbstractEventLoop], pieces: int
) -> None:
    """The loop stands still while the client connects and speaks, as a busy one does."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def greeting() -> bytes:
        async with listening(desk(), tls=serving, implicit_tls=True) as (_, port):
            client = socket.create_connection(("127.0.0.1", port))
            inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
            secured = trusting.wrap_bio(inward, outward, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                secured.do_handshake()
            hello = outward.read()
            cut = len(hello) // pieces
            client.sendall(hello[:cut])
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(hello[cut:])
            async with asyncio.timeout(5):
                while not (line := _decrypted(secured)):
                    writer.write(outward.read())
                    inward.write(await reader.read(65_536) or b"\0")
            writer.close()
            await writer.wait_closed()
            return line

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(greeting()).startswith(b"220 ")


def _decrypted(secured: ssl.SSLObject) -> bytes:
    try:
        secured.do_handshake()
        return secured.read(1_000)
    except ssl.SSLWantReadError:
        return b""
