"""The duty that tells others what happened: webhooks, and the operator's file and syslog.

Of several processes one has it, by a lease; nothing is done where nobody wants to be told.
Two at it, after a standstill, tell some events twice and lose none: cursors move from where
they were read, and a row of the outbox goes once it was accepted.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random

from sqlalchemy import Connection

from soboo_mta.daemon.outlets.courier import Courier, CourierOptions
from soboo_mta.daemon.outlets.feeding import Feeder, Sink, Tail
from soboo_mta.daemon.outlets.verdict import Retries
from soboo_mta.events.log import EventLog
from soboo_mta.events.outbox.cursors import end
from soboo_mta.events.outbox.journal import overlong_logs, shorten_log
from soboo_mta.events.outbox.queue import call_back, drop_old
from soboo_mta.events.outbox.webhooks import active_webhooks, forget_secrets
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.outlets.lines import LineFile
from soboo_mta.net.outlets.syslog import Syslog
from soboo_mta.net.outlets.webhook import WebhookDoor
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings
from soboo_mta.settings.options import resolver_options, webhook_options
from soboo_mta.spool.duty import DUTY_LENGTH, HeldDuty
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer

_LOOK = 2.0  # seconds between renewals, and looks whether somebody wants to be told
_SWEEP = 60.0  # seconds
_LONGEST_WAIT = timedelta(
    hours=30
)  # between two attempts; more: the clock was set back
_MS = timedelta(milliseconds=1)
_DUTY = "events-out"
_SINKS = (LineFile.name, Syslog.name)


@dataclass(slots=True, kw_only=True)
class Outlets:
    """Has the duty while it may and somebody wants to be told."""

    settings: Settings
    writer: Writer
    clock: Clock
    random: Random
    holder: str
    """Tells this process from others."""
    _duty: HeldDuty = field(init=False)

    def __post_init__(self) -> None:
        self._duty = HeldDuty(
            writer=self.writer, clock=self.clock, name=_DUTY, holder=self.holder
        )

    async def run(self) -> None:
        """Tell until cancelled; troubles are logged and tried again."""
        try:
            while True:
                try:
                    if await self._is_wanted() and await self._duty.take():
                        await self._tell_while_held()
                except StoreError as error:
                    EventLog().store_trouble(str(error))
                except Exception as error:  # noqa: BLE001 - a task's root
                    EventLog().internal_error(stage="events", error=error)
                await asyncio.sleep(_LOOK)
        finally:
            await self._give_up()

    async def _is_wanted(self) -> bool:
        events = self.settings.events
        if events.file is not None or events.syslog is not None:
            return True
        return bool(await self.writer.read(active_webhooks))

    async def _give_up(self) -> None:
        try:
            await self._duty.give_up()
        except StoreError as error:  # then it ends by itself
            EventLog().store_trouble(str(error))

    async def _tell_while_held(self) -> None:
        sinks = tuple(_sinks(self.settings))
        await self.writer.transact(lambda at: _forget(at, {one.name for one in sinks}))
        courier = self._courier()
        feeder = Feeder(
            writer=self.writer,
            clock=self.clock,
            most=self.settings.webhooks.max_waiting,
            fed=courier.wake,
        )
        async with asyncio.TaskGroup() as group:
            runs = [courier.run(), feeder.run(), self._sweep()]
            for one in sinks:
                tail = Tail(writer=self.writer, clock=self.clock, sink=one)
                runs.append(tail.run())
            tasks = [group.create_task(one) for one in runs]
            try:
                await self._while_held()
            finally:
                for task in tasks:
                    task.cancel()

    async def _while_held(self) -> None:
        """Renew the lease until it is another's, or over, or nobody wants to be told."""
        until = self.clock.monotonic() + DUTY_LENGTH.total_seconds()
        while self.clock.monotonic() < until:
            await asyncio.sleep(_LOOK)
            before = self.clock.monotonic()
            try:
                if not (await self._is_wanted() and await self._duty.take()):
                    return
            except StoreError as error:
                EventLog().store_trouble(str(error))
                continue
            until = before + DUTY_LENGTH.total_seconds()

    async def _sweep(self) -> None:
        """What keeps the tables bounded."""
        while True:
            try:
                await self._sweep_once()
            except StoreError as error:
                EventLog().store_trouble(str(error))
            await asyncio.sleep(_SWEEP)

    async def _sweep_once(self) -> None:
        now = self.clock.unix_ms()
        before = now - self.settings.webhooks.lifetime // _MS
        latest = now + _LONGEST_WAIT // _MS
        while await self.writer.transact(lambda at: drop_old(at, before)):
            continue  # others write in between

        def mend(at: Connection) -> None:
            call_back(at, latest=latest, now=now)
            forget_secrets(at, now=now)

        await self.writer.transact(mend)
        for number in await self.writer.read(overlong_logs):
            await self.writer.transact(partial(shorten_log, number=number))

    def _courier(self) -> Courier:
        webhooks = self.settings.webhooks
        return Courier(
            writer=self.writer,
            master=self.settings.master_key(),
            clock=self.clock,
            random=self.random,
            door=webhook_doors(self.settings, self.clock),
            options=CourierOptions(
                parallel=webhooks.parallel,
                parallel_per_webhook=webhooks.parallel_per_webhook,
                retries=Retries(lifetime=webhooks.lifetime),
                disable_after=webhooks.disable_after,
            ),
        )


def webhook_doors(settings: Settings, clock: Clock) -> Callable[[str], WebhookDoor]:
    """Return who opens the way to a webhook's URL, as the settings want it."""
    resolver = DnsResolver(options=resolver_options(settings), clock=clock)
    options, tls = webhook_options(settings), ssl.create_default_context()

    def door(url: str) -> WebhookDoor:
        return WebhookDoor(
            url, resolver=resolver, clock=clock, options=options, tls=tls
        )

    return door


def _sinks(settings: Settings) -> Iterator[Sink]:
    events = settings.events
    if events.file is not None:
        yield LineFile(events.file)
    if events.syslog is not None:
        yield Syslog(events.syslog, host_name=settings.host_name)


def _forget(at: Connection, wanted: set[str]) -> None:
    """The places of sinks that the settings no longer name."""
    for name in _SINKS:
        if name not in wanted:
            end(at, name)
