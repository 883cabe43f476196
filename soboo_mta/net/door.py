"""Listening sockets, and accepting on them: one client at a time, each counted at once.

Sockets are bound once, before this, and may be shared by several processes. Not asyncio's
server: that tells nobody of a client before its TLS handshake is over, and uvloop's knows
no address of one that has gone already (docs/adr/0006). A proxy that the settings name
says who its client is, before anything else.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol, cast

from soboo_mta.net.proxied import BadHeader, read_client
from soboo_mta.ports import IpAddress

_BACKLOG = 1_024
_EXHAUSTED_PAUSE = 1.0  # seconds: without a free descriptor accept fails at once
_MAX_HEADERS_AWAITED = 256  # of proxies; each is sent at once and read in a moment


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on an address literal; raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is said: else 40 ms a reply
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who connected. `peer` is the other end of the connection: the client itself, or
    the proxy that named it."""

    client: IpAddress
    peer: IpAddress

    @property
    def is_local(self) -> bool:
        """Whether nothing between us crosses a network."""
        return self.client.is_loopback and self.peer.is_loopback


class Guest(Protocol):
    """One client's connection, an asyncio protocol as well."""

    def enter(self) -> bool:
        """Count the client; False when it is one too many."""
        ...

    def leave(self) -> None:
        """End what `enter` began; more than once does no harm."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it was connected to its client: from then on it leaves by itself."""
        ...


@dataclass(slots=True)
class _Arrival:
    """A connection on its way in; who it is may not be known yet."""

    connection: socket.socket
    peer: IpAddress
    guest: Guest | None = None


def _to_nobody() -> float:
    """For doors that no other process shares."""
    return 0.0


def _told_nobody(peer: IpAddress, why: str) -> None:
    """For doors without proxies."""


class Door:
    """Accepts on one socket. A client is counted from then on, its handshake included.

    `tls`, where given, begins with the connection, at the latest when `handshake` is
    over. `trouble` hears of an accept that failed for want of descriptors, `bad_proxy` of
    one among `proxies` that did not say who its client is, and why. `gives_way`: for how
    many seconds the next client is left to another process that shares the socket.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        admit: Callable[[Caller], Guest],
        trouble: Callable[[OSError], None],
        tls: ssl.SSLContext | None,
        handshake: timedelta,
        gives_way: Callable[[], float] = _to_nobody,
        proxies: Sequence[IPv4Network | IPv6Network] = (),
        bad_proxy: Callable[[IpAddress, str], None] = _told_nobody,
    ) -> None:
        self._socket = listening
        self._admit = admit
        self._trouble = trouble
        self._tls = tls
        self._patience = handshake.total_seconds()
        self._gives_way = gives_way
        self._proxies = proxies
        self._bad_proxy = bad_proxy
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], _Arrival] = {}
        self._headers_awaited = 0
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept from now on."""
        self._pause = None
        self._loop.add_reader(self._socket, self._came)

    async def close(self) -> None:
        """Accept no more, end the handshakes under way, close the socket."""
        self._loop.remove_reader(self._socket)
        if self._pause is not None:
            self._pause.cancel()
        for task, arrival in self._opening.items():
            # In clear a guest is in after a turn or two of the loop; cut short, uvloop
            # leaves it without a connection.
            if self._tls is not None or arrival.guest is None:
                task.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        self._socket.close()

    def _came(self) -> None:
        """A client waits: for us, unless a less busy process takes it in a moment."""
        seconds = self._gives_way()
        if seconds:
            self._loop.remove_reader(self._socket)
            self._pause = self._loop.call_later(seconds, self._take_after_all)
        else:
            self._accept()

    def _take_after_all(self) -> None:
        self.open()
        self._accept()

    def _accept(self) -> None:
        """One at a time: processes that share the socket get even parts."""
        try:
            connection, peer = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process took it, or it is gone
        except OSError as error:
            self._trouble(error)
            self._loop.remove_reader(self._socket)
            self._pause = self._loop.call_later(_EXHAUSTED_PAUSE, self.open)
            return
        connection.setblocking(False)
        arrival = _Arrival(connection, ip_address(peer[0].partition("%")[0]))
        task = self._loop.create_task(self._receive(arrival))
        self._opening[task] = arrival
        task.add_done_callback(partial(self._received, arrival))

    async def _receive(self, arrival: _Arrival) -> None:
        client: IpAddress | None = arrival.peer
        if any(arrival.peer in network for network in self._proxies):
            client = await self._client_behind(arrival)
        if client is None:
            return
        guest = self._admit(Caller(client=client, peer=arrival.peer))
        arrival.guest = guest
        if not guest.enter() and self._tls is not None:
            return  # nothing can be said before the handshake
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast(asyncio.Protocol, guest),  # which it is as well
                arrival.connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._patience if self._tls else None,
            )
        except OSError:  # ssl.SSLError, TimeoutError and a lost connection among them
            return

    async def _client_behind(self, arrival: _Arrival) -> IpAddress | None:
        """Return the client of a proxy; None where it does not say."""
        if self._headers_awaited >= _MAX_HEADERS_AWAITED:
            return None
        self._headers_awaited += 1
        try:
            async with asyncio.timeout(self._patience):
                return await read_client(self._loop, arrival.connection, arrival.peer)
        except BadHeader as error:
            self._bad_proxy(arrival.peer, str(error))
        except TimeoutError:
            self._bad_proxy(arrival.peer, "PROXY header not sent in time")
        finally:
            self._headers_awaited -= 1
        return None

    def _received(self, arrival: _Arrival, task: "asyncio.Task[None]") -> None:
        """Close what was not opened, for whatever reason: also a task that never ran."""
        del self._opening[task]
        guest = arrival.guest
        if guest is None or not guest.is_open:
            if guest is not None:
                guest.leave()
            arrival.connection.close()
