"""Serves an ASGI application over HTTP/1.1 on sockets bound before, by uvicorn.

What the application says, it says elsewhere. A client is counted and bounded as on every
door: connections, the time and size of a request's head, the octets of a request. Signals
stay the daemon's: uvicorn would take SIGTERM for itself. RFC 9112.
"""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from soboo_mta.net.door import Caller, Door
from soboo_mta.net.smtp_server.limits.admission import Admission, client_key
from soboo_mta.net.smtp_server.limits.limits import Limits
from soboo_mta.submission.options import HttpOptions, ListenerOptions

_log = logging.getLogger(__name__)
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
_TLS_RECORD = 0x16  # a ClientHello where the listener is in clear


class HttpServer:
    """One application on bound sockets, in the running event loop.

    `limits` may be shared with the other doors of the process.
    """

    def __init__(
        self,
        app: Any,  # an ASGI application: the frameworks' types for it differ
        *,
        options: HttpOptions | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        options = options or HttpOptions()
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,  # a client would name its own address
            timeout_keep_alive=int(options.idle.total_seconds()),
            timeout_graceful_shutdown=int(options.grace.total_seconds()),
        )
        config.load()
        most = options.connections
        self._server = _Server(config)
        self._server.options = options
        self._server.doors = []
        self._server.tls = tls
        self._server.admission = (limits or Limits(_own_bounds(most))).admission
        self.started = asyncio.Event()
        self._server.on_started = self.started

    @property
    def connections(self) -> int:
        """How many clients are connected now, those in a handshake not included."""
        return len(self._server.server_state.connections)

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until `stop`, then answer what is under way; closes the sockets."""
        try:
            await self._server.serve(sockets=list(sockets))
        finally:  # cancelled, say
            await self._server.close()

    def stop(self) -> None:
        """Accept no more and make `run` return within the grace."""
        self._server.should_exit = True


def _own_bounds(connections: int) -> ListenerOptions:
    return ListenerOptions(
        max_connections=connections, max_connections_per_address=connections
    )


class _Server(uvicorn.Server):
    on_started: asyncio.Event
    options: HttpOptions
    tls: ssl.SSLContext | None
    admission: Admission
    doors: list[Door]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = []  # uvicorn's own accept is not used: see net/door
        self.doors = [
            Door(
                one,
                admit=self._admit,
                trouble=lambda error: _log.error("cannot accept: %s", error),
                tls=self.tls,
                handshake=self.options.handshake,
            )
            for one in sockets or ()
        ]
        for door in self.doors:
            door.open()
        self.started = True
        self.on_started.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._close_doors()
        await super().shutdown()

    async def close(self) -> None:
        """End at once what is still open."""
        await self._close_doors()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)

    async def _close_doors(self) -> None:
        while self.doors:
            await self.doors.pop().close()

    def _admit(self, caller: Caller) -> "_Connection":
        return _Connection(self, caller)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(HttpToolsProtocol):
    """One client's connection, with the bounds that uvicorn has not."""

    def __init__(self, server: _Server, caller: Caller) -> None:
        super().__init__(
            config=server.config, server_state=server.server_state, app_state={}
        )
        self._server = server
        self._key = client_key(caller.client)
        self._is_counted = False
        self._refusal = b""
        self._is_first = True
        self._octets = 0
        self._is_in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def enter(self) -> bool:
        self._is_counted = True
        refused = self._server.admission.enter(self._key)
        if refused is not None:
            body = json.dumps(
                {
                    "code": refused.code,
                    "status": str(refused.status),
                    "text": refused.text,
                }
            ).encode()
            self._refusal = _REFUSAL % (len(body), body)
        return refused is None

    def leave(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._server.admission.leave(self._key)

    @property
    def is_open(self) -> bool:
        return self.transport is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if self._refusal:
            transport.write(self._refusal)
            transport.close()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._is_first:
            self._is_first = False
            if data[0] == _TLS_RECORD:
                self.transport.abort()
                return
        self._octets += len(data)
        super().data_received(data)
        options = self._server.options
        most = options.head_octets if self._is_in_head else options.request_octets
        if self._octets > most:
            self.transport.abort()
        elif self._octets and self._is_in_head and self._head_timer is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        self._octets = 1  # the rest of this read is the parser's; what follows counts
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._forget_timer()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        patience = self._server.options.head.total_seconds()
        self._head_timer = self.loop.call_later(patience, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.transport is not None:
            self.transport.abort()

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
