"""Lives of a relay under load, each ended at a named point or by a fault from outside,
and their account."""

import asyncio
import hashlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType

from soboo_mta.cli.trial.world import World, WorldError
from soboo_mta.lab.record import MessageRecord
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import read_now
from tests.chaos.account import Account, Life, account, deliveries, unsettled
from tests.chaos.points import NEED_THE_DEAD, POINTS
from tests.chaos.sender import Post, keep_coming, keep_submitting

Fault = Callable[["Campaign"], Awaitable[None]]
NO_FAULTS: Mapping[str, Fault] = MappingProxyType({})
DIE = str(Path(__file__).with_name("die.py"))
SESSIONS = 4
QUICKLY = 5  # messages a session submits without a pause
_PATIENCE = 30.0  # seconds until a point is reached: leases of the dead take 5
_DRAIN = 120.0  # seconds until nothing waits any more


@dataclass(slots=True)
class Campaign:
    """One store, many lives. `hits` counts the rounds of each point and fault."""

    place: World
    random: Random
    store: str
    processes: int = 1
    post: Post = field(init=False)
    lives: list[Life] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    _ended_by: str = ""
    _inspected: int = 0

    def __post_init__(self) -> None:
        self.post = Post(self.random)

    async def run(
        self,
        rounds: int,
        points: Sequence[str] = tuple(POINTS),
        faults: Mapping[str, Fault] = NO_FAULTS,
    ) -> None:
        """So many rounds, each point and fault as often as the others, in a random
        order."""
        kinds, waiting = [*points, *faults], list[str]()
        for _ in range(rounds):
            if not waiting:
                waiting = self._in_turn(points, kinds)
            name = waiting.pop()
            if name in faults:
                await self.befall(name, faults[name])
            else:
                await self.round(name)

    def _in_turn(self, points: Sequence[str], kinds: Sequence[str]) -> list[str]:
        """A random order, to be popped: what needs the dead after a round that kills, for
        a fault's life may be long enough to take over from them all, and end well."""
        kills = [name for name in points if name not in NEED_THE_DEAD]
        kill = self.random.choice(kills) if kills else ""
        order = self.random.sample(kinds, len(kinds))
        return sorted(order, key=lambda name: (name not in NEED_THE_DEAD, name != kill))

    async def befall(self, name: str, fault: Fault) -> None:
        """One fault from outside on a relay that runs: submit before, during and after,
        until mail flows again."""
        if self.place.relay is None:
            await self.place.start_relay()
            self.begin_life()
        life, is_over = len(self.lives) - 1, asyncio.Event()
        mails = iter(lambda: self.post.mail(life), None)
        async with asyncio.TaskGroup() as group:
            for _ in range(SESSIONS):
                group.create_task(
                    keep_coming(self.place, mails, until=is_over, quickly=QUICKLY)
                )
            try:
                await self.flows(f"before {name}")
                async with self.disturbed(name):
                    await fault(self)
                await self.flows(f"after {name}")
            finally:
                is_over.set()
        self.hits[name] += 1
        self._inspect()

    async def flows(self, when: str) -> None:
        """Wait until what is submitted from now on is acknowledged, and mail arrives."""
        submitted, arrived = len(self.post.sent), self.place.lab.received

        async def does_it() -> bool:
            fresh = any(mail.is_acknowledged for mail in self.post.sent[submitted:])
            return fresh and self.place.lab.received > arrived

        await self.place.until(f"mail flows {when}", does_it, _PATIENCE)

    async def round(self, name: str) -> None:
        """One life: submit until the relay is killed at the point `name`."""
        most = max(1, POINTS[name].most // self.processes)
        who = self.random.choice(("one", "all")) if self.processes > 1 else "one"
        marker = self.place.directory / f"marker-{len(self.lives)}"
        count = self.random.randint(1, most)
        assert await self.place.stop_relay(signal.SIGTERM) == 0
        self.begin_life()
        try:
            await self.place.start_relay((DIE, name, str(count), who, str(marker)))
        except (WorldError, OSError):
            if not marker.exists():  # else it died before it could greet
                raise
        await self._submit_until(marker, f"killed at {name!r}, {count}")
        assert marker.read_text() == name
        self.hits[name] += 1
        self._ended_by = name
        if self.processes > 1 and who == "one":
            self.begin_life()  # of the one that takes its place
            await self.place.stop_relay(signal.SIGTERM)
        else:
            await self._ended()
        self._inspect()

    async def finish(self) -> Account:
        """Run undisturbed until nothing waits, then draw up the account."""
        if self.place.relay is None:
            self.begin_life()
            await self.place.start_relay()
        return await self.settle()

    async def settle(self) -> Account:
        """Wait until nothing waits, stop the relay that runs, draw up the account."""
        await self.run_dry()
        engine = open_engine(self.store)
        settled = read_now(engine, deliveries)
        engine.dispose()
        self._inspect()
        records = tuple(self.place.lab.records)
        return account(self.post.sent, records, settled, self.lives)

    async def run_dry(self) -> None:
        """Wait until nothing waits any more, and stop the relay that runs."""
        engine = open_engine(self.store)

        async def is_empty() -> bool:
            return not await asyncio.to_thread(read_now, engine, unsettled)

        try:
            await self.place.until("the queue is empty", is_empty, _DRAIN)
        finally:
            engine.dispose()
        assert await self.place.stop_relay(signal.SIGTERM) == 0

    async def _ended(self) -> None:
        """Wait for the relay to be gone. Signalling it now would race with its end."""
        assert self.place.relay is not None
        async with asyncio.timeout(_PATIENCE):
            assert await self.place.relay.wait() == -signal.SIGKILL
        self.place.relay = None

    def begin_life(self) -> None:
        """Note that a worker lost, or will lose, what it had claimed."""
        self.lives.append(Life(_now(), self._ended_by))

    @asynccontextmanager
    async def disturbed(self, cause: str) -> AsyncIterator[None]:
        """While it lasts, what is under way may not be noted: the `cause` of copies."""
        self._ended_by = cause
        self.begin_life()
        try:
            yield
        finally:
            self.lives[-1].over = _now()

    async def _submit_until(self, marker: Path, what: str) -> None:
        life = len(self.lives) - 1
        mails = iter(lambda: self.post.mail(life), None)
        is_over = asyncio.Event()

        async def is_killed() -> bool:
            return marker.exists()

        async with asyncio.TaskGroup() as group:
            for _ in range(SESSIONS):
                group.create_task(
                    keep_submitting(self.place, mails, until=is_over, quickly=QUICKLY)
                )
            try:
                await self.place.until(what, is_killed, _PATIENCE)
            finally:
                is_over.set()

    def _inspect(self) -> None:
        """Compare what came since the last look octet for octet, and throw it away."""
        digests = {mail.name: mail.digest for mail in self.post.sent}
        for record in list(self.place.lab.records)[self._inspected :]:
            self._inspected += 1
            if not _is_whole(record, digests):
                self.damaged.append(record.verdict.message_id)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _is_whole(record: MessageRecord, digests: dict[str, str]) -> bool:
    assert record.raw is not None
    body = record.raw.read_bytes().partition(b"\r\n\r\n")[2]
    with suppress(FileNotFoundError):
        record.raw.unlink()
    name = record.verdict.message_id.partition("@")[0].removeprefix("<")
    return hashlib.sha256(body).hexdigest() == digests.get(name)
