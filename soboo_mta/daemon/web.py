"""What is served over HTTP, put together: a worker's doors for mail, and monitoring."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from soboo_mta.daemon.domains.book import StoredSetups
from soboo_mta.events.log import EventLog
from soboo_mta.identity.state import Operator
from soboo_mta.mail.ids import MessageId
from soboo_mta.net.http_server import HttpServer
from soboo_mta.net.knock import knock
from soboo_mta.net.smtp_server import Limits, SharedTimes
from soboo_mta.ports import Clock
from soboo_mta.returns.reports.door import ReportDoor
from soboo_mta.settings import Settings
from soboo_mta.settings.options import http_options, inject_options, listener_options
from soboo_mta.settings.sections import HttpListener, Listener, ListenerTls
from soboo_mta.spool.returned.keeping import Keeping
from soboo_mta.spool.view import QueuedMessage, show
from soboo_mta.store.writer import Writer
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.tenancy.setup_link import SetupLinks
from soboo_mta.web.health import (
    Check,
    Readiness,
    lease_is_held,
    space_is_free,
    store_is_writable,
)
from soboo_mta.web.inject.api import api
from soboo_mta.web.inject.submit import Submissions
from soboo_mta.web.metrics.board import Board
from soboo_mta.web.metrics.exposition import Exposition
from soboo_mta.web.metrics.figures import StoreFigures
from soboo_mta.web.monitoring import monitoring
from soboo_mta.web.reports import PostedOften, report_routes
from soboo_mta.web.setup.pages import setup_routes

_SPACE_FOR_MAIL: Final = 2  # times [store] min_free


@dataclass(frozen=True, slots=True)
class HttpSocket:
    """A bound socket, and whether TLS begins with the connection."""

    socket: socket.socket
    tls: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What is told of all processes: their boards by role, and where (None: nowhere)."""

    socket: socket.socket | None
    boards: Mapping[str, Board]


class MailDoors:
    """The HTTP doors of one worker; clients are counted together with SMTP's."""

    def __init__(
        self,
        settings: Settings,
        *,
        acceptance: Acceptance,
        limits: Limits,
        times: SharedTimes,
        writer: Writer,
        clock: Clock,
        operator: Callable[[], Operator],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._acceptance = acceptance
        listener = listener_options(settings)

        async def message(message_id: MessageId) -> QueuedMessage | None:
            return await writer.read(lambda connection: show(connection, message_id))

        app = api(
            Submissions(
                acceptance=acceptance,
                limits=limits,
                listener=listener,
                options=inject_options(settings),
            ),
            message,
        )
        app.include_router(
            setup_routes(
                book=StoredSetups(writer),
                links=SetupLinks(settings.master_key().setup_key()),
                operator=operator,
                clock=clock,
            )
        )
        reports = settings.publish.tls_reports
        if reports is not None and reports.url:
            app.include_router(
                report_routes(
                    path=reports.path,
                    door=_report_door(settings, reports.url, writer, clock),
                    often=PostedOften(times),
                    limits=limits,
                    listener=listener,
                )
            )
        options = http_options(settings)
        self._servers = {
            with_tls: HttpServer(
                app,
                options=options,
                tls=tls if with_tls else None,
                limits=limits,
            )
            for with_tls in (True, False)
        }
        self._running: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        return sum(server.connections for server in self._servers.values())

    async def start(
        self, group: asyncio.TaskGroup, sockets: Sequence[HttpSocket]
    ) -> None:
        """Serve on `sockets` until `stop`, which closes them."""
        for with_tls, server in self._servers.items():
            own = [one.socket for one in sockets if one.tls is with_tls]
            if own:
                self._running.append(group.create_task(server.run(own)))
                await server.started.wait()

    async def stop(self) -> None:
        """Accept no more; return when what was under way was answered."""
        for server in self._servers.values():
            server.stop()
        if self._running:
            await asyncio.wait(self._running)
        await self._acceptance.drain()


def _report_door(
    settings: Settings, url: str, writer: Writer, clock: Clock
) -> ReportDoor:
    """Anybody may post: reports are refused while there is space for mail yet."""
    least = _SPACE_FOR_MAIL * settings.store.min_free
    return ReportDoor(
        keeping=Keeping(writer=writer, clock=clock, least=least),
        clock=clock,
        log=EventLog(),
        url=url,
    )


def monitoring_server(
    settings: Settings, *, writer: Writer, clock: Clock, boards: Mapping[str, Board]
) -> HttpServer:
    """Return the server of /metrics, /healthz and /readyz."""
    exposition = Exposition(
        boards=boards,
        store=StoreFigures(writer, clock),
        clock=clock,
        tenants=settings.monitoring.tenants,
        next_hops=settings.monitoring.next_hops,
    )
    return HttpServer(
        monitoring(exposition, Readiness(_checks(settings, writer, clock), clock))
    )


def _checks(settings: Settings, writer: Writer, clock: Clock) -> dict[str, Check]:
    checks = {
        "store": store_is_writable(writer),
        "lease": lease_is_held(writer, clock, socket.gethostname()),
        "disk": space_is_free(settings.server.data_directory, settings.store.min_free),
    }
    listeners: tuple[Listener | HttpListener, ...] = settings.listeners
    for one in listeners + settings.http_listeners:
        checks[f"listener {one.address} {one.port}"] = _answers(one)
    return checks


def _answers(listener: Listener | HttpListener) -> Check:
    async def check() -> str:
        if isinstance(listener, Listener):
            return await knock(
                listener.address,
                listener.port,
                tls=listener.tls is ListenerTls.IMPLICIT,
                say=b"",
                hear=b"220",
            )
        return await knock(
            listener.address,
            listener.port,
            tls=listener.tls,
            say=b"HEAD / HTTP/1.0\r\n\r\n",
            hear=b"HTTP/1.1",
        )

    return check
