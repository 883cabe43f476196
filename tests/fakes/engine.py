"""An engine with fakes at all its doors."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from random import Random

from soboo_mta.events.log import EventLog
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.formats.keys import generate_rsa
from soboo_mta.mail.outcome import Deferred, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.departure import Departures
from soboo_mta.transfer.engine import TransferEngine
from soboo_mta.transfer.limits.options import TransferOptions
from soboo_mta.transfer.planning import Planner
from soboo_mta.transfer.ready.street import ReadyOptions
from soboo_mta.transfer.routing.finder import ResolveOptions, SiteFinder
from soboo_mta.transfer.routing.orders import Orders
from tests.fakes.clock import FakeClock
from tests.fakes.connector import (
    OPERATOR,
    SOURCE,
    FakeCapacity,
    FakeConnector,
    FakeIdentities,
    FakeLease,
    FakeLedger,
    FakeSpool,
    Quiet,
    a_signer,
    a_verp_signer,
)
from tests.fakes.dns import FakeResolver

PAIR = generate_rsa()
DOWN = Deferred(
    reply=reply(451, "4.4.1", "refused"), reason=Reason.CONNECTION, scope=Scope.HOST
)
BUSY = Deferred(
    reply=reply(451, "4.3.2", "busy"), reason=Reason.REPLY, scope=Scope.MESSAGE
)
GOODBYE = Deferred(
    reply=reply(421, "4.3.2", "bye"), reason=Reason.REPLY, scope=Scope.HOST
)


class World:
    """An engine with its fakes; there.example has two hosts, slow.example one."""

    def __init__(self, **options: object) -> None:
        idle = timedelta(milliseconds=20)
        ready = ReadyOptions(**{"idle": idle, **options.pop("ready", {})})
        self.options = TransferOptions(ready=ready, **options)
        self.clock = FakeClock()
        self.identities = FakeIdentities(PAIR)
        self.lease = FakeLease()
        self.connector = FakeConnector()
        self.capacity = FakeCapacity()
        self.spool = FakeSpool()
        self.ledger = FakeLedger()
        self.log = Quiet()
        self.dns = FakeResolver()
        self.dns.add("there.example", "MX", "10 a.there.example")
        self.dns.add("there.example", "MX", "20 b.there.example")
        self.dns.add("a.there.example", "A", "9.9.9.1")
        self.dns.add("b.there.example", "A", "9.9.9.2")
        self.dns.add("slow.example", "A", "9.9.9.3")
        self.orders = Orders()
        operator = (OPERATOR, None)
        self.departures = Departures(
            planner=Planner(
                identities=self.identities, operator=lambda: operator, clock=self.clock
            ),
            verp=a_verp_signer(),
            signer=a_signer(),
            lease=self.lease,
            clock=self.clock,
            options=self.options.departure,
        )
        self.engine = TransferEngine(
            spool=self.spool,
            ledger=self.ledger,
            lease=self.lease,
            log=EventLog(self.log),
            capacity=self.capacity,
            departures=self.departures,
            finder=SiteFinder(
                resolver=self.dns, clock=self.clock, options=ResolveOptions()
            ),
            orders=self.orders,
            connector=self.connector,
            sources=(SOURCE,),
            clock=self.clock,
            random=Random(1),
            refusals=Refusals(own_rules(), Doubts(self.clock)),
            options=self.options,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.001)

    async def settled(self, count: int) -> list[object]:
        await self.until(lambda: len(self.spool.settled) >= count)
        return [outcome for _, outcome, _ in self.spool.settled]
