"""The last messages in memory, octets included: what the page, the API and tests look at.

Owns the bound (the oldest goes first), numbers that are never given twice, finding, and
waiting for what has not come yet. Keeps nothing on disk.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from soboo_mta.lab.content import Content
from soboo_mta.lab.record import MessageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxOptions:
    """Bounds of memory, whichever is met first."""

    messages: int = 1_000
    octets: int = 128_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One message: its number here, the record, and the octets as they were received."""

    number: int
    record: MessageRecord
    octets: bytes
    subject: str
    author: str

    @property
    def content(self) -> Content:
        """What is in it, parsed now."""
        return Content(self.octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; text is found anywhere, in either case. Everything given holds."""

    to: str = ""  # in a recipient
    sender: str = ""  # in the reverse-path or the From field
    subject: str = ""
    text: str = ""  # in any of these
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0  # numbers above it

    def finds(self, kept: Kept) -> bool:
        """Say whether a message is meant."""
        record = kept.record
        recipients = " ".join(record.rcpt_to)
        senders = f"{record.mail_from} {kept.author}"
        return (
            kept.number > self.after
            and (self.since is None or record.received_at >= self.since)
            and (self.until is None or record.received_at <= self.until)
            and _is_in(self.to, recipients)
            and _is_in(self.sender, senders)
            and _is_in(self.subject, kept.subject)
            and _is_in(self.text, f"{recipients} {senders} {kept.subject}")
        )


class Mailbox:
    """Messages by number, oldest first; `dropped` were let go for room."""

    def __init__(self, options: MailboxOptions) -> None:
        self.options = options
        self.dropped = 0
        self.octets = 0  # held now
        self.changes = 0  # goes up at each addition and removal
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._last = 0
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, record: MessageRecord, octets: bytes) -> Kept:
        """Keep a message; older ones go while the bounds are passed."""
        self._last += 1
        content = Content(octets)
        made = Kept(
            number=self._last,
            record=record,
            octets=octets,
            subject=content.subject,
            author=content.field("From"),
        )
        self._kept[made.number] = made
        self.octets += len(octets)
        while len(self._kept) > 1 and self._is_over():
            _, gone = self._kept.popitem(last=False)
            self.octets -= len(gone.octets)
            self.dropped += 1
        self._announce()
        return made

    def get(self, number: int) -> Kept | None:
        """Return one message, or None where it is gone or never was."""
        return self._kept.get(number)

    def find(self, query: Query) -> list[Kept]:
        """Return what `query` finds, the newest first."""
        return [one for one in reversed(self._kept.values()) if query.finds(one)]

    def remove(self, numbers: Iterable[int]) -> int:
        """Delete messages; return how many were there."""
        gone = [self._kept.pop(one) for one in set(numbers) if one in self._kept]
        self.octets -= sum(len(one.octets) for one in gone)
        self._announce()
        return len(gone)

    def clear(self) -> int:
        """Delete all; return how many."""
        return self.remove(list(self._kept))

    async def wait(
        self,
        wanted: Callable[[], bool],
        timeout: float,  # noqa: ASYNC109  # it returns what came of it
    ) -> bool:
        """Wait until `wanted`, asked again at each change; return whether it is so."""
        try:
            async with asyncio.timeout(timeout):
                while not wanted():
                    await self._news.wait()
        except TimeoutError:
            return wanted()
        return True

    def _is_over(self) -> bool:
        over = len(self._kept) > self.options.messages
        return over or self.octets > self.options.octets

    def wake(self) -> None:
        """Let everybody who waits ask again."""
        self._news.set()
        self._news = asyncio.Event()

    def _announce(self) -> None:
        self.changes += 1
        self.wake()


def _is_in(sought: str, text: str) -> bool:
    return sought.casefold() in text.casefold()
