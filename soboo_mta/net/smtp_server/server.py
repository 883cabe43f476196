"""Opens the submission listeners, and ends them without losing what was promised.

Sockets are bound once, before this, and may be shared by several processes. A process
over its bound answers 421. RFC 8314 §3.3: implicit TLS on 465, STARTTLS on 587.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import timedelta

from soboo_mta.net.door import Caller, Door
from soboo_mta.net.smtp_server.limits.limits import Limits
from soboo_mta.net.smtp_server.session.commands import SubmissionSession
from soboo_mta.net.smtp_server.session.connection import Service
from soboo_mta.net.smtp_server.session.listener import Listener
from soboo_mta.ports import IpAddress
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.submission.options import ListenerOptions

_LAST_WORDS = timedelta(seconds=1)  # for the 250 of what was kept after the grace


class SubmissionServer:
    """All submission listeners of one process.

    `tls` None: no STARTTLS; AUTH then works on loopback alone. A renewed certificate is
    loaded into the same context. `limits` may be shared with the other doors of the
    process: a client is counted once over all of them.
    """

    def __init__(
        self,
        *,
        acceptance: Acceptance,
        options: ListenerOptions,
        tls: ssl.SSLContext | None,
        limits: Limits | None = None,
    ) -> None:
        self._acceptance = acceptance
        self._options = options
        self._tls = tls
        self._limits = limits or Limits(options)
        self._doors: list[Door] = []
        self._service: Service | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected now, those in a handshake included."""
        return self._limits.admission.connections

    @property
    def sessions(self) -> int:
        """How many clients are served now."""
        return len(self._service.sessions) if self._service else 0

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Serve on `listeners` until `stop`; each socket is closed by `stop`.

        Raises ValueError for implicit TLS without a certificate.
        """
        if any(
            one.implicit_tls and not (one.own_tls or self._tls) for one in listeners
        ):
            raise ValueError("a listener with implicit TLS needs a certificate")
        service = self._service = Service(
            acceptance=self._acceptance,
            options=self._options,
            tls=self._tls,
            admission=self._limits.admission,
            rates=self._limits.rates,
            failed_logins=self._limits.failed_logins,
        )
        self._doors = [self._door(listener, service) for listener in listeners]
        for door in self._doors:
            door.open()

    def _door(self, listener: Listener, service: Service) -> Door:
        log = self._acceptance.log

        def admitted(caller: Caller) -> SubmissionSession:
            return SubmissionSession(service, listener, caller)

        def trouble(error: OSError) -> None:
            log.internal_error(stage="accept", error=error)

        def bad_proxy(peer: IpAddress, why: str) -> None:
            log.proxy_refused(proxy=str(peer), cause=why)

        return Door(
            listener.socket,
            admit=admitted,
            trouble=trouble,
            tls=(listener.own_tls or self._tls) if listener.implicit_tls else None,
            handshake=self._options.handshake_timeout,
            proxies=listener.proxies,
            bad_proxy=bad_proxy,
        )

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


async def _ended(service: Service, patience: timedelta) -> None:
    """Wait until every session has ended, or the patience has."""
    tasks = {session.task() for session in service.sessions}
    if tasks:
        await asyncio.wait(tasks, timeout=patience.total_seconds())
