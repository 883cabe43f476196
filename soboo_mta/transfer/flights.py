"""Departures under way, and the fences that end them: an identity generation that is over,
a lease that was not renewed. What sent its final dot is left alone: its answer is heard, or
it would arrive twice.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.identity.state import Source
from soboo_mta.mail.outcome import Outcome
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import Clock, Session, Transaction
from soboo_mta.transfer.classify import INTERRUPTED
from soboo_mta.transfer.planning import Known

_ANSWER_PATIENCE = timedelta(seconds=20)  # a fence waits for the answer to a final dot


@dataclass(slots=True, eq=False)
class Flight:
    """A departure under way, made by what was `known`; cut short until its final dot is
    sent: after that its answer is heard, or it would arrive twice."""

    message: SpooledMessage
    source: Source
    known: Known
    since: float
    limit: asyncio.Timeout | None = None
    sent_at: float | None = None
    is_cut: bool = False

    @property
    def generation(self) -> int:
        return self.known.generation

    def cut(self) -> None:
        """Interrupt it, whatever was sent."""
        if self.limit is not None and not self.is_cut:
            self.is_cut = True
            self.limit.reschedule(0)


class Flights:
    """All departures of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flying: set[Flight] = set()

    def begin(self, message: SpooledMessage, source: Source, known: Known) -> Flight:
        """Return a departure that `deliver` will carry out."""
        return Flight(message, source, known, self._clock.monotonic())

    async def deliver(
        self, session: Session, transaction: Transaction, flight: Flight
    ) -> Outcome:
        """Run the transaction, unless it is cut short; return what it came to."""
        try:
            async with asyncio.timeout(None) as flight.limit:
                self._flying.add(flight)
                try:
                    outcomes = await session.deliver(transaction)
                finally:
                    self._flying.discard(flight)
        except TimeoutError:  # cut short by us; the session closed itself
            return INTERRUPTED
        return outcomes[0]

    def acknowledged_generation(self, current: int) -> int:
        """Return the generation before which nothing is under way, at most `current`."""
        answered = self._clock.monotonic() - _ANSWER_PATIENCE.total_seconds()
        return min(
            (
                flight.generation
                for flight in self._flying
                if flight.sent_at is None or flight.sent_at > answered
            ),
            default=current,
        )

    def outdated(self, current: int, *, older_than: timedelta) -> list[Flight]:
        """Return what departs under a generation before `current` for too long."""
        latest = self._clock.monotonic() - older_than.total_seconds()
        return [
            flight
            for flight in self._flying
            if flight.generation < current
            and flight.since <= latest
            and flight.sent_at is None
            and not flight.is_cut
        ]

    def interrupt_all(self) -> None:
        """Interrupt every departure under way."""
        for flight in self._flying:
            flight.cut()
