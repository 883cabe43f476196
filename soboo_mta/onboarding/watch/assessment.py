"""From one look to how a domain stands, what is told of it, and when to look again. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.identity.standing import Condition, Subject
from soboo_mta.identity.state import Facts, RecordCheck
from soboo_mta.onboarding.watch.readings import (
    Seen,
    good_subjects,
    readings,
    renewed,
)
from soboo_mta.onboarding.watch.states import Move, Timers, advance, wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the store had of a domain before this look. `conditions` is empty where no
    look has told of any: a new domain's, or one of an earlier release."""

    conditions: tuple[Condition, ...]
    checks: tuple[RecordCheck, ...]
    facts: Facts | None
    was_owner: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How a domain stands after a look; `wait` None: all that it needs is good."""

    conditions: tuple[Condition, ...]
    moves: tuple[Move, ...]
    wait: timedelta | None


def assess(before: Before, seen: Seen, timers: Timers, *, now: int) -> Assessment:
    """Return what follows from one look at `now` (unix ms)."""
    found = readings(seen)
    conditions, moves = advance(
        before.conditions,
        found,
        timers,
        good_before=_good_before(before, seen),
        renewed=renewed(before.checks, seen.checks),
        now=now,
    )
    return Assessment(
        conditions=conditions,
        moves=moves,
        wait=wait(conditions, found, timers, now=now),
    )


def _good_before(before: Before, seen: Seen) -> Collection[Subject]:
    """What an earlier release saw good: it is no news that it still is."""
    if before.conditions or before.facts is None:
        return ()
    return good_subjects(
        Seen(
            settings=seen.settings,
            checks=before.checks,
            facts=before.facts,
            owned=before.was_owner,
            is_owner=before.was_owner,
        )
    )
