"""The name server: what `zones.py` knows, on UDP and TCP (RFC 1035 §4.2).

Answers both as the authority of its zones and as the resolver of whoever asks it; a
question outside them is NXDOMAIN. Never asks another server, never transfers zones, and
binds where it is told: loopback.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from soboo_mta.lab.zones import ZoneDirectory

_PLAIN_UDP = 512  # octets, RFC 1035 §4.2.1: without EDNS
_LARGEST_UDP = 1232  # octets: what passes unfragmented everywhere
_PORT_TRIES = 20  # port 0: TCP may find the port that UDP was given taken
_IDLE = 30.0  # seconds a TCP asker may be silent


class NameServer:
    """A DNS server for one address; `port` is the bound one once started."""

    def __init__(self, zones: ZoneDirectory, *, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self._zones = zones
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._askers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind UDP and TCP to one port; raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        udp, tcp = _bound_pair(self.address, self.port)
        self.port = udp.getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _UdpAsker(self._answer), sock=udp
        )
        self._tcp = await asyncio.start_server(self._serve_tcp, sock=tcp)

    async def close(self) -> None:
        """Stop answering; connections in use are cut."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for asker in self._askers:
            asker.cancel()
        await asyncio.gather(*self._askers, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()

    async def _serve_tcp(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._askers.add(task)
        try:
            with contextlib.suppress(
                asyncio.IncompleteReadError,
                asyncio.CancelledError,  # close() cut it: nobody waits for the end
                TimeoutError,
                ConnectionError,
            ):
                await self._converse(reader, writer)
        finally:
            self._askers.discard(task)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            async with asyncio.timeout(_IDLE):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                question = await reader.readexactly(length)
            wire = self._answer(question, False)
            if wire is not None:
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()

    def _answer(self, wire: bytes, is_udp: bool) -> bytes | None:
        """Return the reply to one question, or None to say nothing."""
        try:
            question = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if question.flags & dns.flags.QR or len(question.question) != 1:
            return None
        reply = self._resolve(question)
        if reply is None:
            return None
        if not is_udp:
            return reply.to_wire()
        room = _PLAIN_UDP
        if question.edns >= 0:
            room = max(_PLAIN_UDP, min(question.payload, _LARGEST_UDP))
        return reply.to_wire(max_size=room, prefer_truncation=True)

    def _resolve(self, question: dns.message.Message) -> dns.message.Message | None:
        asked = question.question[0]
        reply = dns.message.make_response(question, recursion_available=True)
        if question.opcode() != dns.opcode.QUERY:
            reply.set_rcode(dns.rcode.NOTIMP)
            return reply
        if asked.rdclass != dns.rdataclass.IN or asked.rdtype in _TRANSFERS:
            reply.set_rcode(dns.rcode.REFUSED)
            return reply
        found = self._zones.current().lookup(asked.name, asked.rdtype)
        if found.rcode is None:
            return None
        reply.set_rcode(found.rcode)
        if found.is_known:
            reply.flags |= dns.flags.AA
        reply.answer.extend(found.chain)
        if found.answer is not None:
            reply.answer.append(found.answer)
        if found.authority is not None:
            reply.authority.append(found.authority)
        return reply


_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class _UdpAsker(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, bool], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: Python 3.11's own class is not a DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        wire = self._answer(data, True)
        if wire is not None and self._transport is not None:
            self._transport.sendto(wire, addr)


def _bound_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket bound to the same port."""
    for left in range(_PORT_TRIES if port == 0 else 1, 0, -1):
        udp = bound(address, port, socket.SOCK_DGRAM)
        try:
            return udp, bound(address, udp.getsockname()[1], socket.SOCK_STREAM)
        except OSError:
            udp.close()
            if left == 1:
                raise
    raise OSError("no port")  # not reached: the last try raises


def bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket bound to one address; raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    is_tcp = kind == socket.SOCK_STREAM
    # The protocol is named: asyncio sets TCP_NODELAY only on sockets that say TCP.
    made = socket.socket(family, kind, socket.IPPROTO_TCP if is_tcp else 0)
    try:
        if is_tcp:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
    except OSError as error:
        made.close()
        what = f"{'TCP' if is_tcp else 'UDP'} {address} port {port}: {error.strerror}"
        raise OSError(error.errno, what) from error
    return made
