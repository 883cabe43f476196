"""Steady load on a relay: several connections that submit numbered messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import aiosmtplib

from soboo_mta.cli.trial.world import World

_TEXT = "A line of text that makes the message a little longer.\r\n" * 20
_PATIENCE = 60.0  # seconds; a busy machine is no fault


@dataclass(slots=True, kw_only=True)
class Load:
    """`accepted`: the Message-IDs answered 250, in that order; `cut_off`: why clients
    ended before they were told to. `rate`: messages a second of all clients together; 0:
    as fast as they are answered."""

    place: World
    user: str
    author: str
    recipients: tuple[str, ...]
    rate: float = 0
    accepted: list[str] = field(default_factory=list)
    cut_off: list[Exception] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Callable[[], int] = field(default_factory=lambda: count(1).__next__)
    _began: float = field(default_factory=time.monotonic)

    async def submit_until_stopped(self) -> None:
        try:
            await self._submit()
        except (OSError, aiosmtplib.SMTPException) as error:
            self.cut_off.append(error)

    async def _submit(self) -> None:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.place.port, start_tls=False, timeout=20
        )
        await client.connect()
        await client.login(self.user, self.place.secrets[self.user])
        while not self.stopping.is_set():
            number = self._numbers()
            await self._turn_of(number)
            name = f"<load-{number}@test>"
            text = (
                f"From: {self.author}\r\nTo: friends\r\nSubject: load {number}\r\n"
                f"Message-ID: {name}\r\n\r\n{_TEXT}"
            )
            to = self.recipients[number % len(self.recipients)]
            await client.sendmail(self.author, [to], text)
            self.accepted.append(name)
        await client.quit()

    async def _turn_of(self, number: int) -> None:
        if self.rate:
            late = time.monotonic() - self._began - number / self.rate
            await asyncio.sleep(max(0.0, -late))

    def delivered(self) -> set[str]:
        """The Message-IDs that the sinks have."""
        return {record.verdict.message_id for record in self.place.lab.records}

    async def all_delivered(self, seconds: float = _PATIENCE) -> None:
        """Wait until the sinks have all that was accepted."""
        assert self.accepted
        await self.place.lab.wait_for(
            lambda _: self.delivered() >= set(self.accepted), seconds
        )

    async def more_delivered(self, number: int, seconds: float = _PATIENCE) -> None:
        """Wait until the sinks have `number` messages more than now."""
        await self.place.lab.wait_for(self.place.lab.received + number, seconds)


@asynccontextmanager
async def steady_load(load: Load, connections: int = 4) -> AsyncIterator[Load]:
    """Submit over some connections until the block ends; then no more."""
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(load.submit_until_stopped())
        try:
            yield load
        finally:
            load.stopping.set()
