"""Keeps looking at every sending domain, and opens a broken one's gate once it is mended.

Owns the rhythm and what a change means; the look is `check.py`'s, the store is behind
`DomainBook`. It never closes a gate: a departure that finds no way out does.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from soboo_mta.identity.plan import depart, is_outdated
from soboo_mta.identity.state import (
    DomainState,
    Facts,
    Operator,
    Plan,
    RecordCheck,
)
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.onboarding.check import CheckResult, DomainCheck
from soboo_mta.ports import Clock

_log = structlog.get_logger(__name__)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOptions:
    """How the monitor works through what is due."""

    pause: timedelta = timedelta(seconds=1)
    """Between rounds that found nothing due."""
    after_fault: timedelta = timedelta(minutes=5)
    """Before a domain whose look broke is looked at again."""
    at_once: int = 20
    """Domains looked at in one round, all at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A domain whose look is due, with what the last one found."""

    state: DomainState
    checks: tuple[RecordCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look, for the store. `changed`: facts that decide departures differ, so the
    identity generation must rise; `changes` says how, for the event. `before` are the
    checks of the look before."""

    domain_id: DomainId
    before: tuple[RecordCheck, ...]
    result: CheckResult
    changes: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.changes)


class DomainBook(Protocol):
    """What the monitor needs of the store; each call is one transaction."""

    async def due(self, *, now: int, limit: int) -> tuple[Watched, ...]:
        """Return at most `limit` domains whose `next_check_at` is over."""
        ...

    async def record(self, observation: Observation) -> None:
        """Keep checks, facts, how things stand and the next look's time; verify on a
        first proof; raise the generation where `changed` or newly verified; note an
        event for each change of what departs and each move of what is told."""
        ...

    async def postpone(self, domain_id: DomainId, *, until: int) -> None:
        """Leave the domain alone until then (unix ms)."""
        ...

    async def gated(self) -> tuple[DomainState, ...]:
        """Return the state of each domain whose gate is closed as domain-broken."""
        ...

    async def open_gate(self, domain_id: DomainId) -> None:
        """Open that gate, so that what is held becomes due; note the event."""
        ...


class Monitor:
    """Looks at what is due, stores it, opens gates; until cancelled."""

    def __init__(
        self,
        *,
        check: DomainCheck,
        book: DomainBook,
        operator: Operator,
        clock: Clock,
        options: MonitorOptions,
        operator_facts: Callable[[], Facts | None],
    ) -> None:
        """`operator_facts` must be what departures are given: else a gate opened here
        would close there."""
        self._check = check
        self._book = book
        self._operator = operator
        self._clock = clock
        self._options = options
        self._wake = asyncio.Event()
        self._operator_facts = operator_facts

    def wake(self) -> None:
        """Begin the next round now (a gate closed, a domain was added)."""
        self._wake.set()

    async def run(self) -> None:
        """Round after round. An error of one round is logged; the next one tries again."""
        while True:
            self._wake.clear()
            looked = 0
            try:
                looked = await self.round()
            except Exception:  # noqa: BLE001 - a task's root: nothing may end the watch
                _log.exception("monitor_round_failed")
            if looked < self._options.at_once:
                await self._rest()

    async def round(self) -> int:
        """Look at what is due now and open what is mended; return how many were due."""
        due = await self._book.due(
            now=self._clock.unix_ms(), limit=self._options.at_once
        )
        async with asyncio.TaskGroup() as group:
            for watched in due:
                group.create_task(self._look(watched))
        for state in await self._book.gated():
            if self.leaves(state):
                await self._book.open_gate(state.settings.domain_id)
        return len(due)

    def leaves(self, state: DomainState) -> bool:
        """Whether mail of the domain has a way out from every source: with one that has
        none the next departure there would close the gate again."""
        if is_outdated(state, self._clock.unix_ms()):
            return False
        facts = self._operator_facts()
        return all(
            isinstance(depart(state, source, self._operator, facts), Plan)
            for source in self._operator.sources
        )

    async def _look(self, watched: Watched) -> None:
        try:
            await self._observe(watched)
        except Exception:  # noqa: BLE001 - a task's root: one domain stops no other
            _log.exception("domain_look_failed", domain=watched.state.settings.name)
            # Else it is the longest due for ever, and keeps the watch from others.
            await self._book.postpone(
                watched.state.settings.domain_id,
                until=self._clock.unix_ms() + self._options.after_fault // _MS,
            )

    async def _observe(self, watched: Watched) -> None:
        settings, previous = watched.state.settings, watched.state.facts
        result = await self._check.check(settings, previous, watched.checks)
        await self._book.record(
            Observation(
                domain_id=settings.domain_id,
                before=watched.checks,
                result=result,
                changes=changes(previous, result.facts),
            )
        )

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._options.pause.total_seconds()):
                await self._wake.wait()
        except TimeoutError:
            return


def changes(previous: Facts | None, now: Facts) -> tuple[str, ...]:
    """Return what differs in the facts that decide departures, one phrase for each."""
    if previous is None:
        return ("first look",)
    phrases = [
        *_key_changes("", previous.usable, now.usable),
        *_key_changes(" as the domain", previous.usable_author, now.usable_author),
    ]
    if now.bounce_ready != previous.bounce_ready:
        phrases.append(
            "the bounce host leads to us"
            if now.bounce_ready
            else "the bounce host no longer leads to us"
        )
    if set(now.spf_bounce) != set(previous.spf_bounce):
        phrases.append(f"SPF of the bounce host passes for: {_names(now.spf_bounce)}")
    if set(now.spf_author) != set(previous.spf_author):
        phrases.append(f"SPF of the domain passes for: {_names(now.spf_author)}")
    if (now.walk, now.suffix_list) != (previous.walk, previous.suffix_list):
        phrases.append(f"DMARC: {_policy(now)}")
    return tuple(phrases)


def _key_changes(
    how: str, were: tuple[KeyId, ...], are: tuple[KeyId, ...]
) -> Iterator[str]:
    for key in are:
        if key not in were:
            yield f"key {key} is usable{how}"
    for key in were:
        if key not in are:
            yield f"key {key} is no longer usable{how}"


def _names(sources: tuple[str, ...]) -> str:
    return ", ".join(sources) or "no source"


def _policy(facts: Facts) -> str:
    view = facts.walk
    if not view.has_record:
        return "no record"
    return f"p={view.policy} adkim={view.dkim} aspf={view.spf}"
