"""The PROXY header that a load balancer puts before a connection, versions 1 and 2.

Read by aiosmtpd's parser from the bare socket and not an octet further: what follows is
the client's, or a TLS handshake. Asked for only where the peer is a proxy that the
settings name; it must send one then, as nothing may be guessed.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address

from aiosmtpd.proxy_protocol import AF, PROTO, V2_CMD, ProxyData, get_proxy

from soboo_mta.ports import IpAddress

_MAX_LINE = 107  # octets of a header of version 1, its CRLF included


class BadHeader(Exception):
    """A proxy sent no PROXY header, or a malformed one; the text says what was wrong."""


async def read_client(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, peer: IpAddress
) -> IpAddress:
    """Return the client that the header names, or `peer` where the proxy speaks for
    itself (LOCAL, UNKNOWN: its health checks). Raises BadHeader."""
    header = await get_proxy(_Octets(loop, connection))
    if not header.valid:
        raise BadHeader(header.error)
    return _client(header) or peer


def _client(header: ProxyData) -> IpAddress | None:
    if header.version == 2 and header.command == V2_CMD.LOCAL:
        return None
    if header.protocol != PROTO.STREAM or header.family not in (AF.INET, AF.INET6):
        return None
    client = header.src_addr
    if not isinstance(client, IPv4Address | IPv6Address):
        return None
    mapped = client.ipv4_mapped if isinstance(client, IPv6Address) else None
    return mapped or client


class _Octets:
    """Of a socket, as aiosmtpd's parser asks for them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket
    ) -> None:
        self._loop = loop
        self._connection = connection

    async def read(self, n: int = 1) -> bytes:
        return await self._loop.sock_recv(self._connection, n)

    async def readexactly(self, n: int) -> bytes:
        octets = b""
        while len(octets) < n:
            some = await self.read(n - len(octets))
            if not some:
                raise ConnectionResetError("it closed the connection")
            octets += some
        return octets

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        line = b""
        while not line.endswith(separator):
            if len(line) > _MAX_LINE:
                raise ValueError("the line is too long")
            line += await self.readexactly(1)
        return line
