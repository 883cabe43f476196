"""Opens the submission listeners, and ends them without losing what was promised.

Sockets are bound once, before this, and may be shared by several processes. A process
over its bound answers 421. RFC 8314 §3.3: implicit TLS on 465, STARTTLS on 587.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from soboo_mta.net.smtp_server.admission import Admission, FailedLogins
from soboo_mta.net.smtp_server.commands import SubmissionSession
from soboo_mta.net.smtp_server.session import Service
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.submission.options import ListenerOptions

_BACKLOG = 1_024


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket, and whether TLS begins with the connection (port 465)."""

    socket: socket.socket
    implicit_tls: bool = False


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


class SubmissionServer:
    """All submission listeners of one process.

    `tls` None: no STARTTLS; AUTH then works on loopback alone. A renewed certificate is
    loaded into the same context.
    """

    def __init__(
        self,
        *,
        acceptance: Acceptance,
        options: ListenerOptions,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._acceptance = acceptance
        self._options = options
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._service: Service | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._service.sessions) if self._service else 0

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Serve on `listeners` until `stop`; each socket is closed by `stop`.

        Raises ValueError for implicit TLS without a certificate.
        """
        if self._tls is None and any(one.implicit_tls for one in listeners):
            raise ValueError("a listener with implicit TLS needs a certificate")
        loop = asyncio.get_running_loop()
        patience = self._options.handshake_timeout.total_seconds()
        service = self._service = Service(
            acceptance=self._acceptance,
            options=self._options,
            tls=self._tls,
            admission=Admission(self._options),
            failed_logins=FailedLogins(self._options, loop.time),
        )
        for listener in listeners:
            server = await loop.create_server(
                partial(SubmissionSession, service, implicit_tls=listener.implicit_tls),
                sock=listener.socket,
                backlog=_BACKLOG,
                ssl=self._tls if listener.implicit_tls else None,
                ssl_handshake_timeout=patience if listener.implicit_tls else None,
            )
            self._servers.append(server)

    async def stop(self, grace: timedelta) -> None:
        """Stop accepting; idle clients get 421 now, the others after their transaction
        or after `grace`; return when each commit under way has ended."""
        service = self._service
        if service is None:
            return
        service.is_stopping = True
        for server in self._servers:
            server.close()
        for session in tuple(service.sessions):
            session.finish()
        tasks = {session.task() for session in service.sessions}
        if tasks:
            await asyncio.wait(tasks, timeout=grace.total_seconds())
        for session in tuple(service.sessions):
            session.abort()
        await self._acceptance.drain()
