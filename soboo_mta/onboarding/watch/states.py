"""How standings move: a table, its timers, and what is told of it.

Pure. One step takes what stood and what one look showed. No answer moves nothing, ever.
What changes too often is told once, and then not until it holds. Departures know nothing
of this.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from soboo_mta.identity.standing import Condition, Standing, Subject
from soboo_mta.identity.state import Fault, RecordStatus

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """How long things may be as they are, and when they are looked at meanwhile."""

    pending: timedelta = timedelta(hours=72)
    """What was never good is waited for so long; then it has stalled."""
    grace: timedelta = timedelta(hours=72)
    """What was good is at risk for so long before it is called broken."""
    turns: int = 5
    """Changes between good and not good within `window` that make it flap: at least 2."""
    window: timedelta = timedelta(hours=6)
    """As long must pass without a change before what flapped is told of again."""
    soonest: timedelta = timedelta(seconds=30)
    """Between looks while something is at risk, and at first while it is pending."""
    longest: timedelta = timedelta(hours=1)
    """The most between looks at what is pending or broken: a tenth of its time so."""
    stalled: timedelta = timedelta(hours=6)
    """Between looks at what has stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look showed of one subject."""

    subject: Subject
    status: RecordStatus
    is_required: bool
    cause: str = ""
    fault: Fault = Fault.NONE

    @property
    def is_good(self) -> bool:
        return self.status is RecordStatus.GOOD


class News(StrEnum):
    """What is told of a subject."""

    VERIFIED = "verified"  # good for the first time
    STALLED = "stalled"
    AT_RISK = "at-risk"
    BROKEN = "broken"
    RECOVERED = "recovered"  # good again
    FLAPPING = "flapping"  # quiet now until it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing to tell. `before` is the standing told of last, `after` the one of now."""

    subject: Subject
    news: News
    before: Standing
    after: Standing
    is_required: bool
    cause: str
    fault: Fault


# ---- the table


class _Limit(StrEnum):
    """Which timer a standing outlasts before it moves on."""

    NONE = ""
    PENDING = "pending"
    GRACE = "grace"


@dataclass(frozen=True, slots=True)
class _Ways:
    """Where a standing moves when seen good, and when not, after `limit`."""

    good: Standing
    bad: Standing
    limit: _Limit = _Limit.NONE


TABLE: Mapping[Standing, _Ways] = {
    Standing.PENDING: _Ways(Standing.VERIFIED, Standing.STALLED, _Limit.PENDING),
    Standing.STALLED: _Ways(Standing.VERIFIED, Standing.STALLED),
    Standing.VERIFIED: _Ways(Standing.VERIFIED, Standing.AT_RISK),
    Standing.AT_RISK: _Ways(Standing.VERIFIED, Standing.BROKEN, _Limit.GRACE),
    Standing.BROKEN: _Ways(Standing.VERIFIED, Standing.BROKEN),
}
_NEVER_GOOD = (Standing.PENDING, Standing.STALLED)


def begin(reading: Reading, *, was_good: bool, now: int) -> Condition:
    """Return how a subject stands that is looked at for the first time. `was_good`: an
    earlier release saw it good; it is nothing new then."""
    standing = Standing.VERIFIED if was_good else Standing.PENDING
    return Condition(
        subject=reading.subject,
        standing=standing,
        since=now,
        told=standing,
        is_required=reading.is_required,
    )


def step(
    condition: Condition, reading: Reading, timers: Timers, *, now: int
) -> tuple[Condition, Move | None]:
    """Return how the subject stands after one look (unix ms), and what to tell of it."""
    condition = replace(condition, is_required=reading.is_required)
    if reading.status is RecordStatus.UNKNOWN:
        return condition, None
    to = _next(condition, reading, timers, now)
    if to is not condition.standing:
        condition = replace(
            condition,
            standing=to,
            since=now,
            turns=_turns(condition, to, timers, now),
            cause=reading.cause,
            fault=reading.fault,
        )
    return _told(condition, reading, timers, now)


def advance(
    conditions: Iterable[Condition],
    readings: Iterable[Reading],
    timers: Timers,
    *,
    good_before: Collection[Subject],
    renewed: Collection[Subject],
    now: int,
) -> tuple[tuple[Condition, ...], tuple[Move, ...]]:
    """Step all subjects of a domain. What is no longer read is left out; `renewed` ones
    begin anew, for something else is asked for now."""
    known = {one.subject: one for one in conditions if one.subject not in renewed}
    after: list[Condition] = []
    moves: list[Move] = []
    for reading in readings:
        was_good = reading.subject in good_before
        condition = known.get(reading.subject)
        if condition is None:
            condition = begin(reading, was_good=was_good, now=now)
        condition, move = step(condition, reading, timers, now=now)
        after.append(condition)
        if move is not None:
            moves.append(move)
    return tuple(after), tuple(moves)


def wait(
    conditions: Iterable[Condition],
    readings: Iterable[Reading],
    timers: Timers,
    *,
    now: int,
) -> timedelta | None:
    """Return how long a domain may be left alone of which a needed subject was not seen
    good; None where all were: what was good lately is looked at often, what never was
    ever more seldom."""
    bad = {one.subject for one in readings if one.is_required and not one.is_good}
    waits = [_wait(one, timers, now) for one in conditions if one.subject in bad]
    return min(waits, default=None)


def _wait(condition: Condition, timers: Timers, now: int) -> timedelta:
    if condition.standing is Standing.STALLED:
        return timers.stalled
    if condition.standing in (Standing.VERIFIED, Standing.AT_RISK):
        return timers.soonest
    tenth = (now - condition.since) * _MS / 10
    return min(max(tenth, timers.soonest), timers.longest)


def ends_at(condition: Condition, timers: Timers) -> int | None:
    """Return when (unix ms) the next bad answer moves the standing on; None: never."""
    limit = TABLE[condition.standing].limit
    if limit is _Limit.NONE:
        return None
    if condition.standing is Standing.PENDING and not condition.is_required:
        return None
    return condition.since + _length(limit, timers)


def _next(condition: Condition, reading: Reading, timers: Timers, now: int) -> Standing:
    ways = TABLE[condition.standing]
    if reading.is_good:
        return ways.good
    if ways.limit is _Limit.NONE:
        return ways.bad
    end = ends_at(condition, timers)
    return ways.bad if end is not None and now >= end else condition.standing


def _length(limit: _Limit, timers: Timers) -> int:
    return (timers.pending if limit is _Limit.PENDING else timers.grace) // _MS


def _turns(
    condition: Condition, to: Standing, timers: Timers, now: int
) -> tuple[int, ...]:
    """The changes between good and not good, `to` included where it is one."""
    was_good = condition.standing is Standing.VERIFIED
    if condition.standing in _NEVER_GOOD or was_good is (to is Standing.VERIFIED):
        return condition.turns
    return (*condition.turns, now)[-timers.turns :]


def _told(
    condition: Condition, reading: Reading, timers: Timers, now: int
) -> tuple[Condition, Move | None]:
    window = timers.window // _MS
    if condition.is_flapping:
        if now - condition.turns[-1] < window:
            return condition, None
        calm = replace(condition, is_flapping=False, turns=())
        return _telling(calm, reading)
    recent = [at for at in condition.turns if now - at < window]
    if len(recent) >= timers.turns:
        flapping = replace(condition, is_flapping=True)
        return flapping, _move(flapping, reading, News.FLAPPING)
    if condition.standing is condition.told:
        return condition, None
    return _telling(condition, reading)


def _telling(condition: Condition, reading: Reading) -> tuple[Condition, Move]:
    """Tell how it stands now."""
    move = _move(condition, reading, _news(condition))
    return replace(condition, told=condition.standing), move


def _news(condition: Condition) -> News:
    if condition.standing is not Standing.VERIFIED:
        return News(condition.standing.value)
    return News.VERIFIED if condition.told in _NEVER_GOOD else News.RECOVERED


def _move(condition: Condition, reading: Reading, news: News) -> Move:
    return Move(
        subject=condition.subject,
        news=news,
        before=condition.told,
        after=condition.standing,
        is_required=condition.is_required,
        cause=reading.cause,
        fault=reading.fault,
    )
