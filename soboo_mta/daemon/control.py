"""The duties that one process has for all: watching DNS and the clock, opening gates,
retention, telling others what happened.

They work on the store alone, as every worker does; two at it would do no harm.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import SystemRandom

import structlog

from soboo_mta.daemon.clock import watch_clock
from soboo_mta.daemon.domains.book import StoredDomains
from soboo_mta.daemon.domains.looking import domain_check, zone_servers
from soboo_mta.daemon.domains.released import StoredReleases
from soboo_mta.daemon.domains.rotating import StoredKeys
from soboo_mta.daemon.outlets.duty import Outlets
from soboo_mta.daemon.publishing.duty import Publishing
from soboo_mta.daemon.reporting import reports
from soboo_mta.daemon.returning import Returning
from soboo_mta.daemon.tallying.duty import Tallying
from soboo_mta.daemon.web import Watch, monitoring_server
from soboo_mta.events.log import EventLog
from soboo_mta.events.reports.dmarc import sweep_dmarc
from soboo_mta.events.reports.tls import sweep_tls_reports
from soboo_mta.mail.ids import SWEEPER_NUMBER, MessageIds
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.resolver import each_resolver
from soboo_mta.net.smtp_server import Listener
from soboo_mta.onboarding.watch.monitor import Monitor
from soboo_mta.onboarding.watch.released import ReleasedOptions, ReleasedWatch
from soboo_mta.onboarding.watch.rotation import Rotator
from soboo_mta.returns.reports.dmarc_standing import tell_raisable
from soboo_mta.settings import Settings
from soboo_mta.settings.options import (
    directory_options,
    monitor_options,
    resolver_options,
    rotation_options,
    spool_options,
    thresholds,
    timers,
    writer_options,
)
from soboo_mta.spool.moves.rounds import sweep_for
from soboo_mta.spool.operator.inspect import set_aside_strays, strays_exist
from soboo_mta.spool.returned.view import sweep_returned
from soboo_mta.store.engine import open_engine
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.directory import Directory
from soboo_mta.tenancy.signing.slots import drain_ms
from soboo_mta.tenancy.suppression import sweep_suppressions

_SWEEP_EVERY = timedelta(minutes=10)
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS  # at a start: of its reports nobody told what they mean
_PARENT_LOOK = timedelta(seconds=1)  # an orphaned process ends itself
_log = structlog.get_logger(__name__)


async def run_control(
    control: "Control",
    *,
    ready: Callable[[], None],
    told: Callable[[], Awaitable[None]],
) -> int:
    """Do the duties in a process of their own until `told` returns."""
    settings = control.settings
    engine = open_engine(settings.store_url)
    writer = Writer(engine, options=writer_options(settings))
    await writer.start()
    try:
        async with asyncio.TaskGroup() as group:
            duties = group.create_task(control.run(writer))
            ready()
            await told()
            duties.cancel()
    finally:
        await writer.close()
        engine.dispose()
    return 0


async def told_to_stop(supervisor: int | None) -> None:
    """Return at SIGTERM or SIGINT, or when the supervisor (its process) is gone."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    while not told.is_set() and supervisor in (None, os.getppid()):
        try:
            async with asyncio.timeout(_PARENT_LOOK.total_seconds()):
                await told.wait()
        except TimeoutError:
            continue


@dataclass(slots=True)
class Control:
    """Builds and runs the duties on the writer of the process they are in."""

    settings: Settings
    watch: Watch
    returns: Sequence[Listener] = ()
    clock: SystemClock = field(default_factory=SystemClock)

    async def run(self, writer: Writer) -> None:
        """Watch and sweep until cancelled."""
        monitor = self._monitor(writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(monitor.run())
            group.create_task(self._sweep(writer))
            group.create_task(self._rotator(writer).run())
            group.create_task(self._released(writer).run())
            returning = Returning(self.settings, writer, self.clock)
            group.create_task(returning.run(self.returns))
            if self.settings.publishes:
                duty = Publishing(
                    settings=self.settings,
                    writer=writer,
                    clock=self.clock,
                    holder=self._holder,
                )
                group.create_task(duty.run())
            group.create_task(self._outlets(writer).run())
            group.create_task(self._tallying(writer).run())
            if writer.engine.dialect.name == "sqlite":  # else hosts share the retries
                group.create_task(watch_clock(writer, self.clock))
            if self.watch.socket is not None:
                server = monitoring_server(
                    self.settings,
                    writer=writer,
                    clock=self.clock,
                    boards=self.watch.boards,
                )
                group.create_task(server.run([self.watch.socket]))

    @property
    def _holder(self) -> str:
        """Tells this process from others that could have a duty."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def _outlets(self, writer: Writer) -> Outlets:
        return Outlets(
            settings=self.settings,
            writer=writer,
            clock=self.clock,
            random=SystemRandom(),
            holder=self._holder,
        )

    def _tallying(self, writer: Writer) -> Tallying:
        return Tallying(
            writer=writer,
            clock=self.clock,
            rules=self.settings.bounce_rules(),
            thresholds=thresholds(self.settings),
            slow_to=self.settings.complaints.slow_to,
            holder=self._holder,
        )

    def _released(self, writer: Writer) -> ReleasedWatch:
        resolver, authority = zone_servers(self.settings, self.clock)
        return ReleasedWatch(
            resolver=resolver,
            authority=authority,
            book=StoredReleases(writer, self.clock, EventLog()),
            operator=self.settings.identity(),
            clock=self.clock,
            options=ReleasedOptions(),
        )

    def _monitor(self, writer: Writer) -> Monitor:
        settings, clock = self.settings, self.clock
        operator = settings.identity()  # no look or gate depends on its keys
        return Monitor(
            check=domain_check(settings, operator, clock),
            book=StoredDomains(
                writer=writer,
                clock=clock,
                log=EventLog(),
                timers=timers(settings),
            ),
            operator=operator,
            clock=clock,
            options=monitor_options(settings),
            operator_facts=lambda: None,
        )

    def _rotator(self, writer: Writer) -> Rotator:
        return Rotator(
            book=StoredKeys(
                writer=writer,
                master=self.settings.master_key(),
                clock=self.clock,
                every_days=self.settings.signing.rotate_days,
                drain=drain_ms(self.settings.signing.signature_life),
            ),
            resolvers=each_resolver(resolver_options(self.settings), self.clock),
            options=rotation_options(self.settings),
        )

    async def _sweep(self, writer: Writer) -> None:
        options = spool_options(self.settings)
        directory = Directory(
            writer=writer,
            master=self.settings.master_key(),
            clock=self.clock,
            options=directory_options(self.settings),
        )
        ids = MessageIds(worker=SWEEPER_NUMBER, unix_ms=self.clock.unix_ms)
        told = reports(self.settings, directory, ids, self.clock)
        has_looked, judged = False, 0
        while True:
            try:
                if not has_looked:
                    await self._set_aside_strays(writer)
                    has_looked = True
                await directory.refresh()
                now = self.clock.unix_ms()
                rows = await sweep_for(writer, options, now=now, reports=told)
                rows += await sweep_returned(writer, keep=options.keep, now=now)
                rows += await sweep_tls_reports(writer, keep=options.keep, now=now)
                rows += await sweep_dmarc(writer, keep=options.keep, now=now)
                await tell_raisable(writer, since=judged or now - _DAY_MS, now=now)
                judged = now - _HOUR_MS  # what came then may have been settled later
                rows += await sweep_suppressions(
                    writer,
                    now=now,
                    soft_within=self.settings.suppression.soft_within,
                    keep_history=self.settings.suppression.keep_history,
                )
                _log.info("swept", rows=rows)
            except StoreError as error:
                EventLog().store_trouble(str(error))
            await asyncio.sleep(_SWEEP_EVERY.total_seconds())

    async def _set_aside_strays(self, writer: Writer) -> None:
        """Once a start: it reads every recipient's row."""
        now = self.clock.unix_ms()
        if not await writer.read(strays_exist):
            return
        while found := await writer.transact(lambda at: set_aside_strays(at, now)):
            for one in found:
                EventLog().corrupt(one.message_id, one.cause)
