"""Serves an ASGI application over HTTP/1.1 on sockets bound before, by uvicorn.

What the application says, it says elsewhere. Signals stay the daemon's: uvicorn would
take SIGTERM for itself. RFC 9112.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import uvicorn


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Bounds of one process's HTTP server."""

    connections: int = 200  # over it 503
    backlog: int = 1_024
    idle: timedelta = timedelta(seconds=15)  # a kept connection without a request
    grace: timedelta = timedelta(seconds=10)  # for requests under way at the stop


class HttpServer:
    """One application on bound sockets, in the running event loop."""

    def __init__(
        self,
        app: Any,  # an ASGI application: the frameworks' types for it differ
        *,
        options: HttpOptions | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        options = options or HttpOptions()
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,  # a client would name its own address
            limit_concurrency=options.connections,
            backlog=options.backlog,
            timeout_keep_alive=int(options.idle.total_seconds()),
            timeout_graceful_shutdown=int(options.grace.total_seconds()),
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)
        self.started = asyncio.Event()
        self._server.on_started = self.started

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until `stop`, then answer what is under way; closes the sockets."""
        await self._server.serve(sockets=list(sockets))

    def stop(self) -> None:
        """Accept no more and make `run` return within the grace."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    on_started: asyncio.Event

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
