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
from ipaddress import ip_address

from soboo_mta.net.smtp_server.admission import Admission, FailedLogins
from soboo_mta.net.smtp_server.commands import SubmissionSession
from soboo_mta.net.smtp_server.session import Service
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.submission.options import ListenerOptions

_BACKLOG = 1_024
_EXHAUSTED_PAUSE = 1.0  # seconds: without a free descriptor accept fails at once
_LAST_WORDS = timedelta(seconds=1)  # for the 250 of what was kept after the grace


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
        self._doors: list[_Door] = []
        self._service: Service | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected now, those in a handshake included."""
        return self._service.admission.connections if self._service else 0

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Serve on `listeners` until `stop`; each socket is closed by `stop`.

        Raises ValueError for implicit TLS without a certificate.
        """
        if self._tls is None and any(one.implicit_tls for one in listeners):
            raise ValueError("a listener with implicit TLS needs a certificate")
        loop = asyncio.get_running_loop()
        service = self._service = Service(
            acceptance=self._acceptance,
            options=self._options,
            tls=self._tls,
            admission=Admission(self._options),
            failed_logins=FailedLogins(self._options, loop.time),
        )
        self._doors = [_Door(listener, service, loop) for listener in listeners]
        for door in self._doors:
            door.open()

    async def stop(self, grace: timedelta) -> None:
        """Stop accepting; idle clients get 421 now, the others after their transaction
        or after `grace`; return when each commit under way has ended."""
        service = self._service
        if service is None:
            return
        service.is_stopping = True
        while self._doors:
            await self._doors.pop().close()
        for session in tuple(service.sessions):
            session.finish()
        await _ended(service, grace)
        for session in tuple(service.sessions):
            if not session.is_committing:
                session.abort()
        await self._acceptance.drain()
        await _ended(service, _LAST_WORDS)
        for session in tuple(service.sessions):
            session.abort()


class _Door:
    """Accepts on one listener. A client is counted from then on, its handshake included.

    Not asyncio's server: that tells nobody of a client before its handshake is over, and
    uvloop's knows no address of one that has gone already.
    """

    def __init__(
        self, listener: Listener, service: Service, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._listener = listener
        self._service = service
        self._loop = loop
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.socket, self._accept)

    async def close(self) -> None:
        """Accept no more, end the handshakes under way, close the socket."""
        self._loop.remove_reader(self._listener.socket)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._opening:
            task.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        self._listener.socket.close()

    def _accept(self) -> None:
        """One at a time: processes that share the socket get even parts."""
        try:
            connection, peer = self._listener.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process took it, or it is gone
        except OSError as error:
            log = self._service.acceptance.log
            log.internal_error(stage="accept", error=error)
            self._loop.remove_reader(self._listener.socket)
            self._pause = self._loop.call_later(_EXHAUSTED_PAUSE, self.open)
            return
        connection.setblocking(False)
        session = SubmissionSession(
            self._service,
            client=ip_address(peer[0].partition("%")[0]),
            implicit_tls=self._listener.implicit_tls,
        )
        task = self._loop.create_task(self._serve(session, connection))
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, session, connection))

    async def _serve(
        self, session: SubmissionSession, connection: socket.socket
    ) -> None:
        is_implicit = self._listener.implicit_tls
        if not session.enter() and is_implicit:
            return  # nothing can be said before the handshake
        patience = self._service.options.handshake_timeout.total_seconds()
        try:
            await self._loop.connect_accepted_socket(
                lambda: session,
                connection,
                ssl=self._service.tls if is_implicit else None,
                ssl_handshake_timeout=patience if is_implicit else None,
            )
        except OSError:  # ssl.SSLError, TimeoutError and a lost connection among them
            return

    def _opened(
        self,
        session: SubmissionSession,
        connection: socket.socket,
        task: "asyncio.Task[None]",
    ) -> None:
        """Close what was not opened, for whatever reason: also a task that never ran."""
        self._opening.discard(task)
        if not session.is_open:
            session.leave()
            connection.close()


async def _ended(service: Service, patience: timedelta) -> None:
    """Wait until every session has ended, or the patience has."""
    tasks = {session.task() for session in service.sessions}
    if tasks:
        await asyncio.wait(tasks, timeout=patience.total_seconds())
