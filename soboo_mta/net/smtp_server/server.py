"""Opens the listeners, and ends them without losing what was promised.

Sockets are bound once, before this, and may be shared by several processes: a client goes
to the least busy of them, and where all are at their bounds it is answered 421. RFC 8314
§3.3: implicit TLS on 465, STARTTLS on 587.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from soboo_mta.net.door import Caller, Door
from soboo_mta.net.smtp_server.limits.limits import Limits
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.session.commands import SubmissionSession
from soboo_mta.net.smtp_server.session.connection import Service, Session
from soboo_mta.net.smtp_server.session.login import SubmissionService
from soboo_mta.net.smtp_server.session.returning import ReturnService, ReturnSession
from soboo_mta.ports import IpAddress
from soboo_mta.returns.reception import Reception
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.submission.options import ListenerOptions

_LAST_WORDS = timedelta(seconds=1)  # for the 250 of what was kept after the grace


class SmtpServer(ABC):
    """All listeners of one kind of one process. `limits` may be shared with other doors
    of the process: a client is counted once over all of them."""

    def __init__(
        self,
        *,
        options: ListenerOptions,
        tls: ssl.SSLContext | None,
        limits: Limits | None = None,
    ) -> None:
        """`tls` None: no STARTTLS; AUTH then works on loopback alone. A renewed
        certificate is loaded into the same context."""
        self.options = options
        self.tls = tls
        self.limits = limits or Limits(options)
        self._doors: list[Door] = []
        self._service: Service | None = None

    @abstractmethod
    def new_service(self) -> Service:
        """What the sessions from now on share."""

    @abstractmethod
    def new_session(
        self, service: Service, listener: Listener, caller: Caller
    ) -> Session:
        """One connection of `caller`."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until each commit under way has ended."""

    @abstractmethod
    def bad_proxy(self, peer: IpAddress, why: str) -> None:
        """A proxy did not say, as it must, who its client is."""

    @property
    def connections(self) -> int:
        """How many clients are connected now, those in a handshake included."""
        return self.limits.admission.connections

    @property
    def sessions(self) -> int:
        """How many clients are served now."""
        return len(self._service.sessions) if self._service else 0

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Serve on `listeners` until `stop`; each socket is closed by `stop`.

        Raises ValueError for implicit TLS without a certificate.
        """
        if any(one.implicit_tls and not (one.own_tls or self.tls) for one in listeners):
            raise ValueError("a listener with implicit TLS needs a certificate")
        service = self._service = self.new_service()
        self._doors = [self._door(listener, service) for listener in listeners]
        for door in self._doors:
            door.open()

    def _door(self, listener: Listener, service: Service) -> Door:
        def admitted(caller: Caller) -> Session:
            return self.new_session(service, listener, caller)

        def trouble(error: OSError) -> None:
            service.log.internal_error(stage="accept", error=error)

        return Door(
            listener.socket,
            admit=admitted,
            trouble=trouble,
            tls=(listener.own_tls or self.tls) if listener.implicit_tls else None,
            handshake=self.options.handshake_timeout,
            gives_way=self.limits.admission.gives_way,
            proxies=listener.proxies,
            bad_proxy=self.bad_proxy,
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
        await self.drain()
        await _ended(service, _LAST_WORDS)
        for session in tuple(service.sessions):
            session.abort()


class SubmissionServer(SmtpServer):
    """Takes mail of who may send."""

    def __init__(
        self,
        *,
        acceptance: Acceptance,
        options: ListenerOptions,
        tls: ssl.SSLContext | None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(options=options, tls=tls, limits=limits)
        self._acceptance = acceptance

    def new_service(self) -> SubmissionService:
        return SubmissionService(
            host_name=self._acceptance.options.host_name,
            log=self._acceptance.log,
            max_message_octets=self._acceptance.options.max_message_octets,
            acceptance=self._acceptance,
            options=self.options,
            tls=self.tls,
            admission=self.limits.admission,
            rates=self.limits.rates,
            failed_logins=self.limits.failed_logins,
        )

    def new_session(
        self, service: Service, listener: Listener, caller: Caller
    ) -> SubmissionSession:
        assert isinstance(service, SubmissionService)
        return SubmissionSession(service, listener, caller)

    async def drain(self) -> None:
        await self._acceptance.drain()

    def bad_proxy(self, peer: IpAddress, why: str) -> None:
        self._acceptance.log.proxy_refused(proxy=str(peer), cause=why)


class ReturnServer(SmtpServer):
    """Takes what comes back, from anybody."""

    def __init__(
        self,
        *,
        reception: Reception,
        options: ListenerOptions,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(options=options, tls=tls)
        self._reception = reception

    def new_service(self) -> ReturnService:
        return ReturnService(
            host_name=self._reception.options.host_name,
            log=self._reception.log,
            max_message_octets=self._reception.options.max_message_octets,
            reception=self._reception,
            options=self.options,
            tls=self.tls,
            admission=self.limits.admission,
            rates=self.limits.rates,
        )

    def new_session(
        self, service: Service, listener: Listener, caller: Caller
    ) -> ReturnSession:
        assert isinstance(service, ReturnService)
        return ReturnSession(service, listener, caller)

    async def drain(self) -> None:
        await self._reception.drain()

    def bad_proxy(self, peer: IpAddress, why: str) -> None:
        self._reception.log.proxy_refused(proxy=str(peer), cause=why)


async def _ended(service: Service, patience: timedelta) -> None:
    """Wait until every session has ended, or the patience has."""
    tasks = {session.task() for session in service.sessions}
    if tasks:
        await asyncio.wait(tasks, timeout=patience.total_seconds())
