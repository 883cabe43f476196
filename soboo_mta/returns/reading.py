"""How kept returns are read, from the store to settled. The steps, in their order:

1. Claim returns that are due, for half a minute; each claim is counted.
2. What was claimed too often ended its readers each time: it is kept as unrecognised.
3. Its sender is looked at (SPF, DKIM, DMARC), and a reader says what it is.
4. Settle what was read, together; what fails there is settled alone.

A reader that ends, or cannot be started, leaves its return for another try. Nothing here is told to whoever brought
the return: that was answered long ago.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from soboo_mta.formats.authentication import Authentication
from soboo_mta.formats.returned.recognise import Arrival
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.mail.returned import DmarcReport, Return, Unrecognised
from soboo_mta.ports import Clock
from soboo_mta.returns.options import ReadingOptions
from soboo_mta.returns.reception import DoorKind
from soboo_mta.returns.reports.tls_counting import CountedReport
from soboo_mta.returns.settling import ReadReturn, Settled, Settling
from soboo_mta.spool.returned.claiming import (
    Unread,
    any_unread,
    claim_unread,
    content_of,
    within,
)
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer


class Ended(Protocol):
    """A reader's end over a return; `why` is a sentence."""

    @property
    def why(self) -> str: ...


class Readers(Protocol):
    """Processes that say what a return is (net.readers)."""

    async def read(self, content: bytes, arrival: Arrival) -> Return | Ended:
        """May raise OSError: no process could be started."""
        ...


class Sender(Protocol):
    """Says what of a return's sender is proved."""

    async def proved(self, content: bytes, unread: Unread) -> Authentication | None:
        """Never raises for what stands in a return."""
        ...


class Log(Protocol):
    """The facts of reading, one method each."""

    def return_read(
        self,
        returned_id: int,
        *,
        kind: str,
        message: MessageId | None,
        tenant: TenantId | None,
        recipient: str,
        bounce_class: str,
    ) -> None: ...

    def tls_report(
        self,
        returned_id: int,
        *,
        reporter: str,
        proved_by: str,
        host: str,
        passed_over: str,
    ) -> None: ...

    def tls_failing(
        self, host: str, *, result: str, sessions: int, reporter: str, mend: str
    ) -> None: ...

    def domain_alarm(
        self, kind: str, domain: DnsName, detail: Mapping[str, object]
    ) -> None: ...

    def reader_ended(self, returned_id: int, reads: int, cause: str) -> None: ...

    def store_trouble(self, cause: str) -> None: ...

    def internal_error(self, *, stage: str, error: BaseException) -> None: ...


class Reading:
    """See the module."""

    def __init__(
        self,
        *,
        writer: Writer,
        readers: Readers,
        sender: Sender,
        settling: Settling,
        clock: Clock,
        log: Log,
        options: ReadingOptions,
        on_settled: Callable[[], None],
    ) -> None:
        """`on_settled` is called after each commit: something may go home."""
        self._writer = writer
        self._readers = readers
        self._sender = sender
        self._settling = settling
        self._clock = clock
        self._log = log
        self._options = options
        self._on_settled = on_settled
        self._claim_ms = int(options.claim.total_seconds() * 1_000)
        self._kept = asyncio.Event()

    def wake(self) -> None:
        """There is something to read."""
        self._kept.set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._kept.clear()
            try:
                if await self.read_due():
                    continue
            except StoreError as error:
                self._log.store_trouble(str(error))
            try:
                async with asyncio.timeout(self._options.poll.total_seconds()):
                    await self._kept.wait()
            except TimeoutError:
                continue

    async def read_due(self) -> int:
        """Read and settle some of what is due; return how many were claimed."""
        now = self._clock.unix_ms()
        if not await self._writer.read(lambda at: any_unread(at, now)):
            return 0
        claim = partial(claim_unread, now=now, until=now + self._claim_ms)
        unread = await self._writer.transact(claim)
        for part in within(unread, self._options.octets_at_once):
            await self._read_part(part)
        return len(unread)

    async def _read_part(self, part: Sequence[Unread]) -> None:
        ids = [one.returned_id for one in part]
        contents = await self._writer.read(lambda at: content_of(at, ids))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._tried(one, contents[one.returned_id]))
                for one in part
                if one.returned_id in contents
            ]
        read = [one for task in tasks if (one := task.result())]
        for batch in _batches(read, self._options.settled_together):
            await self._settle(batch)

    async def _tried(self, unread: Unread, content: bytes) -> ReadReturn | None:
        try:
            return await self._read(unread, content)
        except Exception as error:  # noqa: BLE001 - one that cannot be read holds up no other
            self._log.internal_error(stage="reading a return", error=error)
            return None

    async def _read(self, unread: Unread, content: bytes) -> ReadReturn | None:
        """None: its reader ended, and it is tried again."""
        if unread.reads > self._options.tries:
            why = f"its readers ended {self._options.tries} times over it"
            return ReadReturn(unread=unread, found=Unrecognised(why=why))
        arrival = Arrival(
            is_from_null=unread.reverse_path == "",
            is_to_unsubscribe=unread.door == DoorKind.UNSUBSCRIBE,
        )
        found = await self._readers.read(content, arrival)
        if not isinstance(found, Return):
            self._log.reader_ended(unread.returned_id, unread.reads, found.why)
            if unread.reads < self._options.tries:
                return None
            found = Unrecognised(why=found.why)
        proved = None
        if unread.door != DoorKind.TLS_HTTPS:  # else it was posted: no mail, no sender
            proved = await self._sender.proved(content, unread)
        return ReadReturn(unread=unread, found=found, authentication=proved)

    async def _settle(self, read: Sequence[ReadReturn]) -> None:
        try:
            await self._settle_together(read)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one that cannot be settled holds up no other
            self._log.internal_error(stage="settling returns", error=error)
            for one in read:
                await self._settle_alone(one)

    async def _settle_alone(self, read: ReadReturn) -> None:
        try:
            await self._settle_together([read])
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - it stays unread, and is shown as that
            self._log.internal_error(stage="settling a return", error=error)

    async def _settle_together(self, read: Sequence[ReadReturn]) -> None:
        if not read:
            return
        now = self._clock.unix_ms()
        settle = partial(self._settling.settle, read=tuple(read), now=now)
        for one in await self._writer.transact(settle):
            self._told(one)
        self._on_settled()

    def _told(self, settled: Settled) -> None:
        whom = settled.attribution and settled.attribution.about
        classified = settled.verdict.classified
        self._log.return_read(
            settled.unread.returned_id,
            kind=settled.kind,
            message=whom.message_id if whom else None,
            tenant=whom.tenant if whom else None,
            recipient=str(whom.recipient) if whom else "",
            bounce_class=classified.bounce_class if classified else "",
        )
        for one in settled.counted:
            self._told_of_tls(settled.unread.returned_id, one)
        for alarm in settled.alarms:
            self._log.domain_alarm(alarm.kind.value, alarm.domain, alarm.detail)

    def _told_of_tls(self, returned_id: int, one: CountedReport) -> None:
        self._log.tls_report(
            returned_id,
            reporter=one.reporter,
            proved_by=one.proved_by or "",
            host=one.host,
            passed_over=one.why,
        )
        for incident in one.incidents:
            self._log.tls_failing(
                one.host,
                result=incident.result,
                sessions=incident.sessions,
                reporter=one.reporter,
                mend=incident.mend,
            )


def _batches(read: Sequence[ReadReturn], number: int) -> Iterator[list[ReadReturn]]:
    """So many at a time; a DMARC report alone, for its rows are a transaction's worth."""
    batch: list[ReadReturn] = []
    for one in read:
        if isinstance(one.found, DmarcReport):
            yield [one]
            continue
        batch.append(one)
        if len(batch) == number:
            yield batch
            batch = []
    if batch:
        yield batch
