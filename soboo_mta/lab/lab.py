"""The lab as one thing: name server, sinks, verdicts and records, started together.

Wires the other files of this room and keeps what was received in memory for tests to
wait on. Each message is judged by the DNS of that moment and recorded, then answered:
after `250` the record is there. Binds loopback addresses, and says which ports.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from soboo_mta.lab.dns.server import NameServer
from soboo_mta.lab.dns.zones import ZoneDirectory, Zones
from soboo_mta.lab.mailbox import Mailbox, MailboxOptions
from soboo_mta.lab.record import (
    MessageRecord,
    RawFolder,
    RecordFile,
    Refusal,
    Verdict,
)
from soboo_mta.lab.rules.behaviour import Behaviour, Decision
from soboo_mta.lab.rules.rule import Moment
from soboo_mta.lab.sinks.listeners import Sinks
from soboo_mta.lab.sinks.options import Delivery, SinkOptions
from soboo_mta.lab.verdict import Judge, Received
from soboo_mta.net.clock import SystemClock
from soboo_mta.ports import Clock

Predicate = Callable[[Sequence[MessageRecord]], bool]
WAIT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """Paths left out are under the lab's directory, by the names given here."""

    zones: Path | None = None  # zones/: *.zone files
    faults: Path | None = None  # faults.toml: need not exist
    behaviour: Path | None = None  # sinks.toml: need not exist
    records: Path | None = None  # records.jsonl
    raw: Path | None = None  # where octets are kept; None keeps none
    dns_address: str = "127.0.0.1"
    dns_port: int = 0  # 0: a free one
    sinks: SinkOptions = field(default_factory=SinkOptions)
    judges: int = 0  # processes that judge; 0: this one
    is_judging: bool = True  # False: records without verdicts, for load alone
    is_judging_late: bool = False  # at `judge_late`, by the DNS of each receipt
    remembered: int = 100_000  # records kept in memory; the file has them all
    mailbox: MailboxOptions | None = None  # octets kept in memory; None keeps none


class Lab:
    """The local internet: `async with Lab(directory) as lab`.

    `lab.dns_port` and `lab.sink_port` are the bound ones. `records` and `refusals` hold
    what came, in the order of the answers; `behaviour` takes rules while it runs;
    `mailbox` has the last messages whole where the options say so.
    """

    def __init__(
        self,
        directory: Path,
        options: LabOptions | None = None,
        *,
        clock: Clock | None = None,
        on_record: Callable[[MessageRecord], None] | None = None,
    ) -> None:
        self.options = options or LabOptions()
        self.zones_directory = self.options.zones or directory / "zones"
        self.faults_file = self.options.faults or directory / "faults.toml"
        self.behaviour_file = self.options.behaviour or directory / "sinks.toml"
        self.records_file = self.options.records or directory / "records.jsonl"
        self.records: deque[MessageRecord] = deque(maxlen=self.options.remembered)
        self.refusals: deque[Refusal] = deque(maxlen=self.options.remembered)
        self.received = 0  # messages ever, past what is remembered too
        self._clock = clock or SystemClock()
        self._on_record = on_record
        self._refusal_numbers = count(1)
        self._news = asyncio.Event()  # set by the next record or refusal
        self._zones = ZoneDirectory(self.zones_directory, self.faults_file)
        self.behaviour = Behaviour(self.behaviour_file, self._clock)
        self.mailbox = Mailbox(self.options.mailbox or MailboxOptions())
        self._name_server = NameServer(
            self._zones, address=self.options.dns_address, port=self.options.dns_port
        )
        self._sinks = Sinks(
            self.behaviour,
            options=self.options.sinks,
            tls_directory=directory / "tls",
            take=self._take,
            note=self._turned_away,
        )
        self._bench: _Bench | None = None
        self._unjudged: list[tuple[MessageRecord, Received, Zones]] = []
        self._file: RecordFile | None = None
        self._raw: RawFolder | None = None

    @property
    def dns_port(self) -> int:
        """The name server's port, UDP and TCP."""
        return self._name_server.port

    @property
    def sink_port(self) -> int:
        """The port of the sinks on every one of their addresses."""
        return self._sinks.port

    @property
    def authority_file(self) -> Path | None:
        """The CA that the sinks' good certificates are from; None where they have none."""
        made = self._sinks.certificates
        return None if made is None else made.authority_file

    @property
    def problems(self) -> dict[Path, str]:
        """File → why its newest content is not in force; empty when all is well."""
        self._zones.current()
        found = dict(self._zones.problems)
        if self.behaviour.problem:
            found[self.behaviour_file] = self.behaviour.problem
        return found

    async def __aenter__(self) -> Self:
        """Start everything; raises OSError for an address or a file that is taken."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop everything; connections in use are cut, records are kept."""
        await self._sinks.close()
        await self._name_server.close()
        if self._bench is not None:
            await asyncio.to_thread(self._bench.close)
        if self._file is not None:
            self._file.close()
            self._file = None

    async def wait_for(
        self,
        wanted: int | Predicate,
        timeout: float | timedelta = WAIT,  # noqa: ASYNC109  # it reports what came
    ) -> tuple[MessageRecord, ...]:
        """Wait for a number of messages in all, or until a predicate over them holds.

        Looks again at each record and each refusal (a predicate may look at
        `refusals`). Returns the records remembered then. `timeout` in seconds where it is
        a number; raises TimeoutError that says what had come.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            async with asyncio.timeout(seconds):
                while not self._has(wanted):
                    await self._news.wait()
        except TimeoutError as late:
            raise TimeoutError(self._so_far(wanted, seconds)) from late
        return tuple(self.records)

    def cut_connections(self) -> int:
        """End every connection to the sinks: what comes next meets the rules of now.

        Return how many there were.
        """
        return self._sinks.cut()

    async def judge(self, received: Received) -> Verdict:
        """Return the verdict by the zones as they are now; an empty one without judges."""
        if self._bench is None:
            return Verdict()
        return await self._bench.judge(received, self._zones)

    async def judge_late(self) -> tuple[MessageRecord, ...]:
        """Judge what came since the last call, each message by the zones as they were when
        it came; return those records with their verdicts, in the order of the answers.

        For `is_judging_late`: a load is not slowed down by its judges. The records file
        has no verdicts of these.
        """
        judge, late = Judge(), self._unjudged
        self._unjudged = []
        return tuple(
            [
                replace(record, verdict=await judge.judge(received, zones))
                for record, received, zones in late
            ]
        )

    async def _start(self) -> None:
        self.zones_directory.mkdir(parents=True, exist_ok=True)
        self._file = RecordFile(self.records_file)
        if self.options.raw is not None:
            self._raw = RawFolder(self.options.raw)
        if self.options.is_judging and not self.options.is_judging_late:
            self._bench = _Bench(
                self.options.judges, self.zones_directory, self.faults_file
            )
        await self._name_server.start()
        await self._sinks.start()

    async def _take(self, delivery: Delivery) -> None:
        """Judge, record, and only then let the sink answer."""
        received_at, zones = self._clock.now(), self._zones.current()
        received = Received(
            peer=delivery.peer,
            helo=delivery.helo,
            mail_from=delivery.mail_from,
            octets=delivery.octets,
        )
        verdict = await self.judge(received)
        raw = (
            None if self._raw is None else self._raw.keep(delivery.octets, received_at)
        )
        record = MessageRecord(
            received_at=received_at,
            peer=delivery.peer,
            sink=delivery.sink,
            helo=delivery.helo,
            tls=delivery.tls,
            login=delivery.login,
            mail_from=delivery.mail_from,
            rcpt_to=delivery.rcpt_to,
            size=len(delivery.octets),
            verdict=verdict,
            raw=raw,
        )
        if self._file is None:
            raise OSError("the lab is closed")
        self._file.append(record)
        self.records.append(record)
        self.received += 1
        if self.options.is_judging_late:
            self._unjudged.append((record, received, zones))
        if self.options.mailbox is not None:
            self.mailbox.add(record, delivery.octets)
        if self._on_record is not None:
            self._on_record(record)
        self._announce()

    def _turned_away(self, moment: Moment, decision: Decision) -> None:
        self.refusals.append(
            Refusal(
                number=next(self._refusal_numbers),
                at=self._clock.now(),
                peer=moment.client,
                stage=moment.stage.value,
                recipients=moment.recipients,
                action=decision.action.value,
                reply=decision.reply.replace("\r\n", "\n"),
            )
        )
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _has(self, wanted: int | Predicate) -> bool:
        if isinstance(wanted, int):
            return self.received >= wanted
        return wanted(tuple(self.records))

    def _so_far(self, wanted: int | Predicate, seconds: float) -> str:
        sought = f"{wanted} messages" if isinstance(wanted, int) else "what was wanted"
        last = [", ".join(record.rcpt_to) for record in list(self.records)[-10:]]
        return (
            f"not {sought} within {seconds:g} s: {self.received} received, the last for "
            f"{last}; {len(self.refusals)} refusals"
        )


class _Bench:
    """Where judges sit: in this loop, or in processes that read the zones themselves.

    Not in a thread: it would fight this one for the interpreter's lock and take twice
    the time.
    """

    def __init__(self, processes: int, zones: Path, faults: Path) -> None:
        self._judge = Judge()
        self._executor: ProcessPoolExecutor | None = None
        if processes > 0:
            self._executor = ProcessPoolExecutor(
                processes,
                mp_context=get_context("spawn"),  # a fork would copy held locks
                initializer=_sit_down,
                initargs=(zones, faults),
            )

    async def judge(self, received: Received, zones: ZoneDirectory) -> Verdict:
        """Return the verdict by the zones as they are now."""
        if self._executor is None:
            return await self._judge.judge(received, zones.current())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _judge_there, received)

    def close(self) -> None:
        """Wait for verdicts under way and let the judges go."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


_seat: tuple[Judge, ZoneDirectory] | None = None
"""A judging process's own; a pool's initializer has nowhere else to leave it."""


def _sit_down(zones: Path, faults: Path) -> None:
    global _seat  # noqa: PLW0603  # see _seat
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the lab decides when judges go
    _seat = (Judge(), ZoneDirectory(zones, faults))


def _judge_there(received: Received) -> Verdict:
    assert _seat is not None
    judge, zones = _seat
    return asyncio.run(judge.judge(received, zones.current()))
