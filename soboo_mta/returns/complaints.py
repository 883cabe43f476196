"""How often mail is complained of, and what follows. Pure.

A rate is complaints for each recipient that mail was delivered to, over some days, at those
providers alone that report complaints: what the others took says nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from soboo_mta.events.tally.standings import Level, Scope, Standing, Subject
from soboo_mta.events.tally.view import Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which share (of 1) on a level holds; None: never. Under `least` complaints
    there is no rate to speak of; it is over `days`, with today."""

    warn: float | None = 0.001
    slow: float | None = 0.002
    hold: float | None = 0.003
    least: int = 10
    days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What was delivered and complained of, in recipients."""

    subject: Subject
    delivered: int
    complaints: int

    @property
    def share(self) -> float:
        """Complaints for each delivered recipient."""
        return self.complaints / max(1, self.delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A subject's standing as it is now, and its level before."""

    now: Standing
    before: Level

    @property
    def is_of_numbers(self) -> bool:
        """Whether its level stays."""
        return self.now.level is self.before


def rates(sent: Sequence[Sent]) -> tuple[Rate, ...]:
    """Return the rate of each tenant, domain and provider that was complained of, the
    worst first."""
    reporting = {one.provider for one in sent if one.complaints}
    delivered, complaints = Counter[Subject](), Counter[Subject]()
    for one in sent:
        if one.provider in reporting:
            for subject in _subjects(one):
                delivered[subject] += one.delivered
                complaints[subject] += one.complaints
    found = (
        Rate(subject=subject, delivered=delivered[subject], complaints=times)
        for subject, times in complaints.items()
        if times
    )
    return tuple(sorted(found, key=lambda one: (-one.share, one.subject.name)))


def level_of(rate: Rate, thresholds: Thresholds) -> Level:
    """Return what is done about a rate. A provider is all tenants': it is told of alone."""
    if rate.complaints < thresholds.least:
        return Level.GOOD
    steps = (
        (Level.HOLD, thresholds.hold),
        (Level.SLOW, thresholds.slow),
        (Level.WARN, thresholds.warn),
    )
    for level, share in steps:
        if share is not None and rate.share >= share:
            return Level.WARN if rate.subject.scope is Scope.PROVIDER else level
    return Level.GOOD


def moves(
    found: Iterable[Rate],
    known: Iterable[Standing],
    thresholds: Thresholds,
    *,
    now: int,
) -> Iterator[Move]:
    """Yield how each standing is now, where its level or its numbers are others than what
    is known. `now` is in unix ms."""
    before = {one.subject: one for one in known}
    seen = {one.subject: one for one in found}
    for subject in {**before, **seen}:
        rate = seen.get(subject)
        level = Level.GOOD if rate is None else level_of(rate, thresholds)
        if level.stops and is_spared(subject, before, now=now):
            level = Level.WARN
        move = _move(subject, rate, level, before.get(subject), now)
        if move is not None:
            yield move


def is_spared(subject: Subject, known: Mapping[Subject, Standing], *, now: int) -> bool:
    """Whether an operator lets its mail go, by its own name or its tenant's."""
    owner = Subject(
        scope=Scope.TENANT, name=subject.tenant or "", tenant=subject.tenant
    )
    found = (known.get(one) for one in (subject, owner))
    return any(one is not None and one.spared_until > now for one in found)


def _move(
    subject: Subject,
    rate: Rate | None,
    level: Level,
    known: Standing | None,
    now: int,
) -> Move | None:
    spared_until = 0 if known is None else known.spared_until
    before = Level.GOOD if known is None else known.level
    standing = Standing(
        subject=subject,
        level=level,
        complaints=0 if rate is None else rate.complaints,
        delivered=0 if rate is None else rate.delivered,
        since=known.since if known is not None and known.level is level else now,
        spared_until=spared_until if spared_until > now else 0,
    )
    is_nothing = known is None and level is Level.GOOD
    return (
        None if is_nothing or standing == known else Move(now=standing, before=before)
    )


def _subjects(one: Sent) -> Iterator[Subject]:
    yield Subject(scope=Scope.TENANT, name=one.tenant, tenant=one.tenant)
    yield Subject(scope=Scope.DOMAIN, name=str(int(one.domain_id)), tenant=one.tenant)
    if one.provider:
        yield Subject(scope=Scope.PROVIDER, name=one.provider)


def percent(share: float) -> str:
    """Return a share for people: "0.21 %"."""
    return f"{100 * share:.2f} %"


def said(rate: Rate | Standing, subjects: Mapping[Subject, str]) -> str:
    """Return one sentence on a rate; `subjects` are their names for people."""
    name = subjects.get(rate.subject, rate.subject.name)
    return (
        f"{percent(rate.share)} of the mail of {rate.subject.scope} {name} was complained"
        f" of: {rate.complaints} of {rate.delivered} recipients"
    )
