"""The return listener, the reading of what it kept and its way home, built from the
settings."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_address

from sqlalchemy import Connection

from soboo_mta.events.log import EventLog
from soboo_mta.events.reports.alarms import Alarm
from soboo_mta.events.tally.view import sent_by_selector
from soboo_mta.formats.authentication import Authentication
from soboo_mta.formats.classes.rules import KEPT
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.address import parse_reverse_path
from soboo_mta.mail.bounce_class import Consequence
from soboo_mta.mail.returned import DmarcReport
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.readers import Readers
from soboo_mta.net.smtp_server import Listener, ReturnServer
from soboo_mta.ports import Clock
from soboo_mta.returns.authentication import (
    AuthenticationOptions,
    Came,
    authenticated,
)
from soboo_mta.returns.forwarding.deciding import Deciding
from soboo_mta.returns.forwarding.duty import Forwarding
from soboo_mta.returns.forwarding.making import Making
from soboo_mta.returns.forwarding.options import ForwardingOptions
from soboo_mta.returns.reading import Reading
from soboo_mta.returns.reception import Reception
from soboo_mta.returns.reports.dmarc_desk import DmarcDesk
from soboo_mta.returns.settling import ACTOR, Settling
from soboo_mta.returns.verdict import Verdict
from soboo_mta.settings import Settings
from soboo_mta.settings.certificates import listener_tls
from soboo_mta.settings.options import (
    reader_limits,
    reading_options,
    reception_options,
    resolver_options,
    return_listener_options,
    settling_options,
    suppression_rules,
    verp_keys,
)
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.spool.returned.keeping import Keeping
from soboo_mta.spool.returned.settling import About
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains.bounce_hosts import StoredBounceHosts
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.tenancy.suppression import (
    Evidence,
    SuppressionRules,
    complained,
    consequences,
    unsubscribed,
)
from soboo_mta.transfer.leaving.consequences import added_event


class Returning:
    """All of it in one process; `run` serves and reads until cancelled."""

    def __init__(self, settings: Settings, writer: Writer, clock: Clock) -> None:
        log = EventLog()
        verp = VerpSigner(*verp_keys(settings))
        options = reading_options(settings)
        self._grace = settings.server.stop_within
        rules, forwarding = settings.bounce_rules(), forwarding_options(settings)
        self._forwarding = Forwarding(
            writer=writer,
            making=Making(rules=rules, options=forwarding),
            clock=clock,
            log=log,
        )
        self._readers = Readers(number=options.readers, limits=reader_limits(settings))
        self._sender = DnsSender(settings, clock)
        self._reading = Reading(
            writer=writer,
            readers=self._readers,
            sender=self._sender,
            settling=Settling(
                verp=verp,
                rules=rules,
                consequences=_consequences(settings, clock),
                deciding=Deciding(forwarding),
                options=settling_options(settings),
            ),
            clock=clock,
            log=log,
            options=options,
            on_settled=self._forwarding.wake,
        )
        self._server = ReturnServer(
            reception=Reception(
                keeping=Keeping(
                    writer=writer, clock=clock, least=settings.store.min_free
                ),
                verp=verp,
                bounce_hosts=StoredBounceHosts(writer),
                clock=clock,
                log=log,
                options=reception_options(settings),
                on_kept=self._reading.wake,
            ),
            options=return_listener_options(settings),
            tls=listener_tls(settings),
        )

    async def run(self, listeners: Sequence[Listener]) -> None:
        """What was kept before is read even where nothing listens now."""
        await self._server.start(listeners)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forwarding.run())
                group.create_task(self._reading.run())
        finally:
            await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        await self._server.stop(min(self._grace, timedelta(seconds=10)))
        await self._readers.close()
        self._sender.close()


def forwarding_options(settings: Settings) -> ForwardingOptions:
    """Return what the settings say of returns that go home."""
    returns, reports = settings.returns, settings.reports
    return ForwardingOptions(
        host_name=settings.host_name,
        domain=settings.operator.domain,
        desk=returns.desk,
        warn_of_delay=reports.warn_of_delay,
        per_recipient=returns.forwards_per_recipient,
        per_hour=returns.forwards_per_hour,
        max_answer=returns.max_forwarded,
        lifetime=settings.retry.lifetime,
    )


class DnsSender:
    """What SPF, DKIM and DMARC say of who brought a return."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._resolver = DnsResolver(options=resolver_options(settings), clock=clock)
        self._suffixes = SuffixList()
        self._thread = ThreadPoolExecutor(1, "return-sender")
        self._options = AuthenticationOptions(threads=self._thread)

    def close(self) -> None:
        """Begin nothing more; what is being looked at ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def proved(self, content: bytes, unread: Unread) -> Authentication | None:
        came = Came(
            client=ip_address(unread.client),
            helo=unread.client_name,
            reverse_path=parse_reverse_path(unread.reverse_path),
        )
        return await authenticated(
            content,
            came,
            self._resolver,
            suffixes=self._suffixes,
            options=self._options,
        )


def _consequences(settings: Settings, clock: Clock) -> "StoredConsequences":
    doubts, operator = Doubts(clock), settings.identity()
    desk = DmarcDesk(
        addresses=[source.public_address for source in operator.sources],
        operator=operator.domain,
        suffixes=SuffixList(),
        doubts=doubts,
        sent=sent_by_selector,
    )
    return StoredConsequences(doubts, suppression_rules(settings), desk)


class StoredConsequences:
    """What returns bring into tenants' suppression lists, each entry with its event, looks
    at a domain's DNS, and what reports count."""

    def __init__(
        self, doubts: Doubts, rules: SuppressionRules, desk: DmarcDesk
    ) -> None:
        self._doubts = doubts
        self._rules = rules
        self._desk = desk

    def dmarc_reported(
        self,
        connection: Connection,
        unread: Unread,
        found: DmarcReport,
        proved: Authentication | None,
        *,
        now: int,
    ) -> tuple[Alarm, ...]:
        return self._desk.took(connection, unread, found, proved, now=now)

    def failed(
        self, connection: Connection, whom: About, said: Verdict, *, now: int
    ) -> None:
        if said.classified is None:
            return
        if said.classified.facts.consequence is Consequence.CHECK_DNS:
            unit = self._doubts.raised(
                whom.domain_id,
                message_id=whom.message_id,
                actor=ACTOR,
                detail={"host": whom.host, "reply": said.text[:KEPT]},
            )
            perform(connection, *unit)
        added = consequences(
            connection,
            whom.tenant,
            whom.recipient,
            said.classified,
            _evidence(whom, f"{said.status} {said.text}".strip()),
            now,
            self._rules,
        )
        perform(connection, *map(added_event, added))

    def complained(self, connection: Connection, whom: About, *, now: int) -> None:
        evidence = _evidence(whom, "")
        added = complained(connection, whom.tenant, whom.recipient, evidence, now)
        perform(connection, *map(added_event, added))

    def unsubscribed(self, connection: Connection, whom: About, *, now: int) -> None:
        added = unsubscribed(
            connection,
            whom.tenant,
            whom.stream,
            whom.recipient,
            _evidence(whom, ""),
            now,
        )
        perform(connection, *map(added_event, added))


def _evidence(whom: About, said: str) -> Evidence:
    return Evidence(message=whom.message_id, position=whom.position, said=said)
