"""One relay worker: every room's object built here, then run until told to stop.

Order at the end: stop accepting, let clients finish, drain what departs, settle, give the
lease up, close the store. A lost lease is taken anew under another epoch.
"""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

from soboo_mta.daemon.control import Control
from soboo_mta.daemon.reporting import own_domain, reports
from soboo_mta.daemon.submitting import feedback
from soboo_mta.daemon.web import HttpSocket, MailDoors
from soboo_mta.events.log import EventLog
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.state import Facts, Operator
from soboo_mta.mail.ids import MessageIds
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.smtp_client import SmtpConnector
from soboo_mta.net.smtp_server import (
    Limits,
    Listener,
    Neighbours,
    SharedTimes,
    SubmissionServer,
)
from soboo_mta.settings import Settings
from soboo_mta.settings.certificates import listener_tls
from soboo_mta.settings.options import (
    acceptance_options,
    client_options,
    directory_options,
    listener_options,
    resolver_options,
    spool_options,
    suppression_options,
    suppression_rules,
    transfer_options,
    verp_keys,
    writer_options,
)
from soboo_mta.spool.capacity import Capacity
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.operator.orders import standing_orders
from soboo_mta.spool.spool import Spool
from soboo_mta.store.engine import open_engine
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.tenancy.directory import Directory
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.tenancy.quota import Quota
from soboo_mta.tenancy.suppression import Suppressions
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.departure import Departures
from soboo_mta.transfer.engine import TransferEngine
from soboo_mta.transfer.leaving.consequences import Consequences
from soboo_mta.transfer.planning import Planner
from soboo_mta.transfer.routing.finder import SiteFinder
from soboo_mta.transfer.routing.orders import Orders
from soboo_mta.web.metrics import names
from soboo_mta.web.metrics.board import Board
from soboo_mta.web.metrics.counting import CountingLog, CountingResolver, Meter

_REPORT_EVERY = timedelta(seconds=1)
_STRAY_LOOKS = 2  # the second for what was on its way to the store at the first
_FOLLOW_EVERY = timedelta(milliseconds=200)  # promised: at most 250 ms behind


class Worker:
    """Built from the settings; `run` opens everything and closes it again.

    `control`: the duties of all, where this is the only process. `ready` is called once
    it takes mail; it works until `told` returns.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[Listener],
        times: SharedTimes,
        neighbours: Neighbours,
        *,
        rules: RuleSet,
        http: Sequence[HttpSocket],
        board: Board,
        control: Control | None,
        ready: Callable[[], None],
        told: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._listeners = _with_client_authorities(settings, listeners)
        self._times = times
        self._http = http
        self._control = control
        self._neighbours = neighbours
        self._ready = ready
        self._told = told
        self._clock = SystemClock()
        self._meter = Meter(board)
        self._log: EventLog = CountingLog(self._meter, self._clock)
        self._operator = settings.identity()
        self._writer = Writer(
            open_engine(settings.store_url),
            options=writer_options(settings),
            on_commit=self._meter.commit.observe,
        )
        self._lease = WorkerLease(writer=self._writer, clock=self._clock)
        self._directory = Directory(
            writer=self._writer,
            master=settings.master_key(),
            clock=self._clock,
            options=directory_options(settings),
        )
        self._suppressions = Suppressions(
            writer=self._writer,
            clock=self._clock,
            options=suppression_options(settings),
        )
        self._orders = Orders()
        self._strays_due = 0
        self._ids = MessageIds(worker=0, unix_ms=self._clock.unix_ms)
        self._engine = self._build_engine()
        self._acceptance = self._build_acceptance()
        self._build_doors()

    async def run(self) -> int:
        """Work until told to stop; return the exit code."""
        async with AsyncExitStack() as stack:
            await self._writer.start()
            stack.push_async_callback(self._writer.close)
            await self._take_number()
            await self._refresh()
            async with asyncio.TaskGroup() as group:
                beats = [
                    group.create_task(self._renew_for_ever()),
                    group.create_task(self._follow_for_ever()),
                    group.create_task(self._report_for_ever()),
                ]
                if self._control is not None:
                    beats.append(group.create_task(self._control.run(self._writer)))
                group.create_task(self._engine.run())
                await self._engine.started.wait()
                await self._server.start(self._listeners)
                self._log.serving(self._lease.number, self._addresses())
                await self._mail_doors.start(group, self._http)
                self._ready()
                await self._told()
                await self._stop()
                for beat in beats:
                    beat.cancel()
            await self._release()
        self._log.stopped(self._lease.number)
        return 0

    def _addresses(self) -> list[str]:
        listeners = self._settings.listeners
        return [f"{one.address} port {one.port} ({one.tls})" for one in listeners]

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except StoreError as error:  # it runs out by itself
            self._log.store_trouble(str(error))

    async def _stop(self) -> None:
        grace = self._settings.server.stop_within
        began = self._clock.monotonic()
        await asyncio.gather(self._server.stop(grace), self._mail_doors.stop())
        left = grace - timedelta(seconds=self._clock.monotonic() - began)
        await self._engine.drain(max(left, timedelta(0)))

    # ---- what is done again and again

    async def _take_number(self) -> None:
        await self._lease.register(host=socket.gethostname(), process=os.getpid())
        self._ids.take_number(self._lease.number, floor=self._lease.floor)

    async def _renew_for_ever(self) -> None:
        pause = self._lease.options.renew_every.total_seconds()
        while True:
            await asyncio.sleep(pause)
            number, epoch = self._lease.number, self._lease.epoch
            try:
                if not await self._lease.renew(self._engine.acknowledged_generation()):
                    self._log.lease_lost(number, epoch)
                    await self._take_number()
            except StoreError as error:
                self._log.store_trouble(str(error))

    async def _follow_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_FOLLOW_EVERY.total_seconds())
            try:
                await self._refresh()
            except StoreError as error:
                self._log.store_trouble(str(error))

    async def _refresh(self) -> None:
        await self._directory.refresh()
        await self._suppressions.refresh()
        if self._orders.replace(await self._writer.read(standing_orders)):
            self._strays_due = _STRAY_LOOKS
        if self._strays_due:
            self._strays_due -= 1
            await self._spool.release_strays()

    async def _report_for_ever(self) -> None:
        """Tell the numbers of the moment; by them this process counts as alive."""
        while True:
            put = self._meter.put
            put(names.CONNECTIONS, self._mail_doors.connections, "http")
            put(names.CONNECTIONS, self._server.sessions, "smtp")
            connections, recipients = self._engine.load
            put(names.CONNECTIONS, connections, "delivery")
            put(names.IN_MEMORY, recipients)
            self._meter.report(self._clock)
            await asyncio.sleep(_REPORT_EVERY.total_seconds())

    def _the_operator(self) -> tuple[Operator, Facts | None]:
        keys = self._directory.operator_keys  # those of its generation
        if keys is not self._operator.keys and keys != self._operator.keys:
            self._operator = self._settings.identity(keys)
        return self._operator, None

    # ---- building

    def _build_engine(self) -> TransferEngine:
        settings, clock = self._settings, self._clock
        options = transfer_options(settings)
        self._spool = Spool(
            writer=self._writer,
            lease=self._lease,
            clock=clock,
            options=spool_options(settings),
            alarm=lambda one: self._log.corrupt(one.message_id, one.cause),
        )
        chance = random.SystemRandom()
        resolver = DnsResolver(options=resolver_options(settings), clock=clock)
        return TransferEngine(
            spool=self._spool,
            ledger=self._writer,
            lease=self._lease,
            log=self._log,
            capacity=Capacity(writer=self._writer, lease=self._lease),
            departures=Departures(
                planner=Planner(
                    identities=self._directory,
                    operator=self._the_operator,
                    clock=clock,
                    own_domain=own_domain(settings, resolver, clock),
                ),
                verp=VerpSigner(*verp_keys(settings)),
                signer=Signer(),
                lease=self._lease,
                clock=clock,
                suppressions=self._suppressions,
                options=options.departure,
            ),
            finder=SiteFinder(
                resolver=CountingResolver(resolver, self._meter),
                clock=clock,
                options=options.resolve,
            ),
            orders=self._orders,
            connector=SmtpConnector(
                options=client_options(settings), rules=self._rules
            ),
            sources=self._operator.sources,
            clock=clock,
            random=chance,
            refusals=Refusals(
                self._rules,
                Doubts(clock),
                Consequences(
                    classes=self._rules,
                    rules=suppression_rules(settings),
                    failures=self._suppressions,
                ),
            ),
            options=options,
            reports=reports(settings, self._directory, self._ids, clock),
        )

    def _build_acceptance(self) -> Acceptance:
        settings = self._settings
        return Acceptance(
            directory=self._directory,
            spool=self._spool,
            quota=Quota(
                writer=self._writer, directory=self._directory, clock=self._clock
            ),
            suppressions=self._suppressions,
            ids=self._ids,
            clock=self._clock,
            log=self._log,
            operator=self._operator,
            options=acceptance_options(settings),
            on_accepted=self._engine.offer,
            room_for=self._engine.room_for,
            feedback=feedback(settings),
        )

    def _build_doors(self) -> None:
        """SMTP's and HTTP's: one count of clients and of wrong logins for both."""
        settings, tls = self._settings, listener_tls(self._settings)
        bounds = listener_options(settings)
        limits = Limits(bounds, self._times, self._neighbours)
        self._server = SubmissionServer(
            acceptance=self._acceptance, options=bounds, tls=tls, limits=limits
        )
        self._mail_doors = MailDoors(
            settings,
            acceptance=self._acceptance,
            limits=limits,
            times=self._times,
            writer=self._writer,
            clock=self._clock,
            operator=lambda: self._the_operator()[0],
            tls=tls,
        )


def _with_client_authorities(
    settings: Settings, listeners: Sequence[Listener]
) -> tuple[Listener, ...]:
    """Give each listener that asks for client certificates a context of its own."""
    return tuple(
        replace(listener, own_tls=listener_tls(settings, one.client_ca_file))
        if one.client_ca_file
        else listener
        for one, listener in zip(settings.listeners, listeners, strict=True)
    )
