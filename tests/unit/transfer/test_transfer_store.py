"""The engine over the real spool, writer, lease and capacity, on both stores."""

import asyncio
from datetime import timedelta
from random import Random

from sqlalchemy import select

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.formats.keys import generate_rsa
from soboo_mta.mail.outcome import Failed, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.capacity import Capacity
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import attempt, gate, message, recipient
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.departure import Departures
from soboo_mta.transfer.engine import TransferEngine
from soboo_mta.transfer.limits.options import TransferOptions
from soboo_mta.transfer.planning import Planner
from soboo_mta.transfer.routing.finder import ResolveOptions, SiteFinder
from soboo_mta.transfer.routing.orders import Orders
from tests.fakes.clock import FakeClock
from tests.fakes.connector import (
    OK,
    OPERATOR,
    SOURCE,
    FakeConnector,
    FakeIdentities,
    a_message,
    a_signer,
    a_verp_signer,
    an_event_log,
)
from tests.fakes.dns import FakeResolver


async def states(writer: Writer) -> list[tuple[str, int]]:
    query = select(recipient.c.state, recipient.c.attempts).order_by(
        recipient.c.message_id, recipient.c.position
    )
    return await writer.read(lambda c: [tuple(row) for row in c.execute(query)])


async def test_case_125_141_mixed_outcomes_a_hold_and_a_claim_are_settled_in_the_store(
    writer: Writer, clock: FakeClock
):
    lease = WorkerLease(writer=writer, clock=clock, store_now=lambda _: clock.unix_ms())
    await lease.register(host="test", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    identities, connector = FakeIdentities(generate_rsa()), FakeConnector()
    dns = FakeResolver()
    dns.add("there.example", "A", "9.9.9.1")
    operator = (OPERATOR, None)
    departures = Departures(
        planner=Planner(identities=identities, operator=lambda: operator, clock=clock),
        verp=a_verp_signer(),
        signer=a_signer(),
        lease=lease,
        clock=clock,
    )
    engine = TransferEngine(
        spool=spool,
        ledger=writer,
        lease=lease,
        log=an_event_log(),
        capacity=Capacity(writer=writer, lease=lease),
        departures=departures,
        finder=SiteFinder(resolver=dns, clock=clock, options=ResolveOptions()),
        orders=Orders(),
        connector=connector,
        sources=(SOURCE,),
        clock=clock,
        random=Random(1),
        refusals=Refusals(own_rules(), Doubts(clock)),
        options=TransferOptions(claim_every=timedelta(milliseconds=20)),
    )
    refused = Failed(
        reply=reply(550, "5.1.1", "who"), reason=Reason.REPLY, scope=Scope.RECIPIENT
    )
    connector.answer = lambda t: refused if "x@" in str(t.recipients[0]) else OK

    async def until(*wanted: str) -> None:
        async with asyncio.timeout(20):
            while [state for state, _ in await states(writer)] != list(wanted):
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as running:
        running.create_task(engine.run())
        await engine.started.wait()
        offered = a_message(1, to=("a@there.example", "x@there.example"))
        assert await spool.accept(offered, claim=True)
        engine.offer(offered, (0, 1))
        await until("delivered", "failed")
        await spool.accept(a_message(2), claim=False)
        engine.wake()
        await until("delivered", "failed", "delivered")
        identities.change(usable=(), bounce_ready=False, spf_bounce=())
        await spool.accept(a_message(3), claim=False)
        engine.wake()
        await until("delivered", "failed", "delivered", "held")
        await engine.drain(timedelta(seconds=5))
    contents = await writer.read(
        lambda c: list(c.scalars(select(message.c.content).order_by(message.c.id)))
    )
    assert [content is None for content in contents] == [True, True, False]
    told = await writer.read(lambda c: list(c.scalars(select(attempt.c.outcome))))
    assert sorted(told) == ["delivered", "delivered", "failed", "held"]
    gates = await writer.read(lambda c: list(c.scalars(select(gate.c.subject))))
    assert gates == ["7"]
