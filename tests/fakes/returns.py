"""The returns' rooms on a real store: a listener on loopback, and readers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from soboo_mta.events.attempt import AttemptFacts, attempted
from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import Alarm
from soboo_mta.formats.authentication import Authentication
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.mail.address import Mailbox, parse_mailbox, parse_reverse_path
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Delivered, Failed, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.returned import DmarcReport, Return
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.net.door import bind
from soboo_mta.net.readers import Ended
from soboo_mta.net.smtp_server import Listener, ReturnServer
from soboo_mta.returns.forwarding.deciding import Deciding
from soboo_mta.returns.forwarding.duty import Forwarding
from soboo_mta.returns.forwarding.making import Making
from soboo_mta.returns.forwarding.options import ForwardingOptions
from soboo_mta.returns.options import ReadingOptions, ReceptionOptions, SettlingOptions
from soboo_mta.returns.reading import Reading
from soboo_mta.returns.reception import Reception
from soboo_mta.returns.reports.dmarc_desk import DmarcDesk
from soboo_mta.returns.settling import Settling
from soboo_mta.returns.verdict import Verdict
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.spool.returned.keeping import Keeping
from soboo_mta.spool.returned.settling import About
from soboo_mta.spool.spool import Spool
from soboo_mta.store.schema import event
from soboo_mta.store.writer import Writer
from soboo_mta.submission.options import ListenerOptions
from soboo_mta.tenancy.domains.bounce_hosts import StoredBounceHosts
from tests.fakes.clock import FakeClock

BOUNCE = Domain("bounce.customer.com")
VERP = VerpSigner({0: b"k" * 32, 1: b"l" * 32}, 1)
MESSAGE = MessageId(7 << 22)
HOST = "mx.there.example[192.0.2.7]:25"
_OPTIONS = ReceptionOptions(
    host_name=Domain("mx.esp.example"),
    own_domains=frozenset((Domain("esp.example"),)),
    feedback=frozenset((parse_mailbox("fbl@esp.example"),)),
    dmarc_reports=frozenset((parse_mailbox("dmarc@esp.example"),)),
    tls_reports=frozenset((parse_mailbox("tls@esp.example"),)),
    max_message_octets=2_000_000,
    max_refused=5,
    thread_over_octets=10_000,
)


FORWARDING = ForwardingOptions(
    host_name=Domain("mx.esp.example"),
    domain=Domain("esp.example"),
    desk=parse_mailbox("desk@office.example"),
)


@dataclass
class ReturnLog:
    """What was logged, by name."""

    facts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note(*given: object, **facts: object) -> None:
            self.facts.append((name, {**facts, "given": given}))

        return note

    def internal_error(self, *, stage: str, error: BaseException) -> None:
        self.errors.append(error)


@dataclass
class FakeConsequences:
    """What followed, in order."""

    done: list[tuple[str, str]] = field(default_factory=list)
    desk: DmarcDesk | None = None  # DMARC reports are counted where there is one

    def dmarc_reported(
        self,
        connection: Connection,
        unread: Unread,
        found: DmarcReport,
        proved: Authentication | None,
        *,
        now: int,
    ) -> tuple[Alarm, ...]:
        if self.desk is None:
            return ()
        return self.desk.took(connection, unread, found, proved, now=now)

    def failed(
        self, connection: Connection, whom: About, said: Verdict, *, now: int
    ) -> None:
        assert said.classified is not None
        self.done.append((said.classified.bounce_class.value, str(whom.recipient)))

    def complained(self, connection: Connection, whom: About, *, now: int) -> None:
        self.done.append(("complained", str(whom.recipient)))

    def unsubscribed(self, connection: Connection, whom: About, *, now: int) -> None:
        self.done.append(("unsubscribed", str(whom.recipient)))


class ReadersHere:
    """Reads in this process; what is in `deadly` ends its reader."""

    def __init__(self) -> None:
        self.deadly = b"\0never"

    async def read(self, content: bytes, arrival: Arrival) -> Return | Ended:
        if self.deadly in content:
            return Ended("it took too much")
        return recognised(content, arrival)


@dataclass
class FakeSender:
    """What is proved of every return."""

    proves: Authentication | None = None

    async def proved(self, content: bytes, unread: Unread) -> Authentication | None:
        return self.proves


@dataclass
class ReturnDesk:
    """All of it; `reading.read_due()` reads what was kept."""

    writer: Writer
    clock: FakeClock
    reception: Reception
    reading: Reading
    readers: ReadersHere
    sender: FakeSender
    consequences: FakeConsequences
    log: ReturnLog
    forwarding: Forwarding

    def address(self, position: int = 0, message: MessageId = MESSAGE) -> str:
        """The signed reverse-path of a recipient."""
        until = self.clock.unix_ms() + 86_400_000
        return str(VERP.address(message, position, until, BOUNCE))

    def unsubscribe_address(
        self, position: int = 0, message: MessageId = MESSAGE
    ) -> str:
        """The signed address by which a recipient leaves the message's stream."""
        until = self.clock.unix_ms() + 86_400_000
        return str(VERP.unsubscribe_address(message, position, until, BOUNCE))

    async def read_all(self) -> None:
        while await self.reading.read_due():
            pass

    async def send_home(self) -> None:
        while await self.forwarding.make_due():
            pass

    async def told(self) -> list[EventKind]:
        """The kinds of all events, the oldest first."""
        query = event.select().order_by(event.c.id)
        rows = await self.writer.read(lambda at: at.execute(query).all())
        return [EventKind(row.kind) for row in rows]


def return_desk(
    writer: Writer,
    clock: FakeClock,
    *,
    forwarding: ForwardingOptions | None = None,
    **reading: Any,
) -> ReturnDesk:
    log, consequences, readers = ReturnLog(), FakeConsequences(), ReadersHere()
    sender = FakeSender()
    settling = Settling(
        verp=VERP,
        rules=own_rules(),
        consequences=consequences,
        deciding=Deciding(forwarding or FORWARDING),
        options=SettlingOptions(
            host_name=_OPTIONS.host_name,
            bounce_domain=Domain("bounce.esp.example"),
            reporters=frozenset((Domain("there.example"),)),
        ),
    )
    the_reading = Reading(
        writer=writer,
        readers=readers,
        sender=sender,
        settling=settling,
        clock=clock,
        log=log,
        options=ReadingOptions(**reading),
        on_settled=lambda: None,
    )
    reception = Reception(
        keeping=Keeping(writer=writer, clock=clock, least=0),
        verp=VERP,
        bounce_hosts=StoredBounceHosts(writer),
        clock=clock,
        log=log,
        options=_OPTIONS,
        on_kept=the_reading.wake,
    )
    return ReturnDesk(
        writer=writer,
        clock=clock,
        reception=reception,
        reading=the_reading,
        readers=readers,
        sender=sender,
        consequences=consequences,
        log=log,
        forwarding=Forwarding(
            writer=writer,
            making=Making(rules=own_rules(), options=forwarding or FORWARDING),
            clock=clock,
            log=log,
        ),
    )


@asynccontextmanager
async def returns_listening(
    one: ReturnDesk, options: ListenerOptions | None = None, *, tls: Any = None
) -> AsyncIterator[tuple[ReturnServer, int]]:
    """A return listener on a free port of 127.0.0.1."""
    server = ReturnServer(
        reception=one.reception, options=options or ListenerOptions(), tls=tls
    )
    socket = bind("127.0.0.1", 0)
    port = socket.getsockname()[1]
    await server.start([Listener(socket)])
    try:
        yield server, port
    finally:
        await server.stop(timedelta(0))


async def a_delivered_message(
    writer: Writer,
    clock: FakeClock,
    *recipients: str,
    message_id: MessageId = MESSAGE,
    named: str = "<1@customer.com>",
    refused: bool = False,
    **changed: Any,
) -> SpooledMessage:
    """A message in the store whose recipients were all delivered, or all refused."""
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="here", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock)
    message = SpooledMessage(
        message_id=message_id,
        tenant=TenantId("acme"),
        domain_id=DomainId(1),
        credential=None,
        reverse_path=parse_reverse_path("app@customer.com"),
        author=Mailbox("news", Domain("customer.com")),
        recipients=tuple(map(parse_mailbox, recipients)),
        header_message_id=named,
        client="127.0.0.1",
        eight_bit=False,
        smtputf8=False,
        body_hash=b"h" * 32,
        accepted_at=clock.unix_ms(),
        expires_at=clock.unix_ms() + 86_400_000,
        content=b"From: news@customer.com\r\n\r\nHello\r\n",
    )
    message = replace(message, **changed)
    outcome: Outcome = Delivered(reply=reply(250, "2.0.0", "ok"))
    if refused:
        said = reply(550, "5.1.1", "no such user")
        outcome = Failed(reply=said, reason=Reason.REPLY, scope=Scope.RECIPIENT)
    await spool.accept(message, claim=True)
    for position in range(len(recipients)):
        claimed = Claimed(message=message, position=position, attempts=0)
        now = clock.unix_ms()
        unit = spool.settlement(claimed, outcome, at=now, due_at=None)
        facts = AttemptFacts(at=now, host=HOST)
        unit.append(attempted(message_id, position, outcome, facts))
        await writer.commit(unit)
    await lease.release()
    return message
