"""One look at everything a sending domain needs in DNS, and the facts that follow.

Asks for each required record and judges the answer. An authoritative answer that shows a
record missing or wrong counts at once; no answer (SERVFAIL, time-out) keeps what was
last known good for at most 72 hours. Decides nothing about sending: `depart` does.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    DomainSettings,
    DomainState,
    Facts,
    Fault,
    Mode,
    OnBroken,
    Operator,
    Purpose,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.onboarding.doors import Doors
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.looking.caches import Caches
from soboo_mta.onboarding.looking.delegation import ZoneDoctor
from soboo_mta.onboarding.looking.facts import Memory, facts_of
from soboo_mta.onboarding.looking.look import Look
from soboo_mta.ports import Authority, Clock, NamedResolver, RecordType, Resolver

_MS = timedelta(milliseconds=1)


_Place = tuple[DnsName, RecordType, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """When to look again, and how long silence keeps what was good."""

    shortest: timedelta = timedelta(seconds=30)
    """No domain is looked at more often while all is well."""
    longest: timedelta = timedelta(hours=1)
    """Every domain is looked at as often; between the two, after a tenth of the time
    that it has been as it is: what is new is watched, what is settled costs little."""
    while_broken: timedelta = timedelta(seconds=30)
    """Between looks while a required record is not good."""
    last_known_good: timedelta = timedelta(hours=72)
    """How long a record without an answer keeps its last good one."""
    negative_ttl: timedelta = timedelta(hours=1)
    """How long resolvers may remember that a record was not there: more is rare
    (RFC 2308 §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one look found. `owned`: this look saw a proof bound to this tenant.
    `forgets_at`: look again by then (unix ms), what is kept of older looks ends. `reports`:
    whether DMARC reports on the domain come to us; None where we take none."""

    checks: tuple[RecordCheck, ...]
    facts: Facts
    owned: bool
    next_check_at: int  # unix ms; what is not good for long may be left longer
    forgets_at: int
    reports: Finding | None = None

    @property
    def all_good(self) -> bool:
        """Whether every required record is good."""
        return all(
            check.status is RecordStatus.GOOD
            for check in self.checks
            if check.record.is_required
        )


class DomainCheck:
    """Looks at domains through `resolver`, past our own cache."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        operator: Operator,
        suffixes: Suffixes,
        clock: Clock,
        options: CheckOptions,
        authority: Authority | None = None,
        resolvers: Sequence[NamedResolver] = (),
        doors: Doors | None = None,
    ) -> None:
        """`authority` None: a delegation is believed to the zone itself, and a fault of
        a zone is not told from one of its records. `resolvers`: whose caches are looked
        into while a record is new, and serve what many domains ask for alike; `resolver`
        is to ask past them. `doors` None: as the operator has them."""
        self._caches = Caches(resolvers, clock)
        self._shared = resolvers[0].resolver if resolvers else None
        self._doors = doors
        self._authority = authority
        self._resolver = resolver
        self._operator = operator
        self._suffixes = suffixes
        self._clock = clock
        self._options = options

    async def check(
        self,
        settings: DomainSettings,
        previous: Facts | None,
        previous_checks: Iterable[RecordCheck],
        *,
        is_thorough: bool = False,
    ) -> CheckResult:
        """Look at every required record of one domain once.

        `previous` and `previous_checks` are the last look's; `is_thorough`: also at what
        else may be wrong where all is well, since a person asks. Never raises for what
        DNS can say. Several domains may be looked at at the same time.
        """
        before = {_place(check.record): check for check in previous_checks}
        operator = self._operator
        if self._doors is not None:
            operator = await self._doors.opened(operator)
        asked = _asked(settings, operator)
        look = Look(
            resolver=self._resolver,
            settings=settings,
            operator=operator,
            suffixes=self._suffixes,
            authority=self._authority,
            shared=self._shared,
            known=_known(before.values()),
            dmarc_before=None if is_thorough else _dmarc_in(before.values()),
        )
        findings = await self._findings(look, asked, {} if is_thorough else before)
        reports = await look.reports()  # asks little that was not asked for the records
        now = self._clock.unix_ms()
        seen = [
            (_record_check(record, finding, before, now), finding)
            for record, finding in zip(asked, findings, strict=True)
        ]
        checks = tuple(check for check, _ in seen)
        memory = Memory(previous, now, self._options.last_known_good)
        facts = facts_of(settings, seen, memory)
        # At the end of what is kept of older looks: else all of it ends with that.
        forgets_at = facts.observed_at + self._options.last_known_good // _MS + 1
        interval = self._interval_ms(checks, now - facts.stable_since)
        next_check_at = min(now + interval, forgets_at)
        return CheckResult(
            checks=tuple(replace(one, next_check_at=next_check_at) for one in checks),
            facts=facts,
            owned=any(finding.proves for _, finding in seen),
            next_check_at=next_check_at,
            forgets_at=forgets_at,
            reports=reports,
        )

    async def _findings(
        self,
        look: Look,
        asked: Sequence[RequiredRecord],
        before: Mapping[_Place, RecordCheck],
    ) -> list[Finding]:
        """What is found of each record asked for, all looked at together."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._finding(look, record, before.get(_place(record)))
                )
                for record in asked
            ]
        return [task.result() for task in tasks]

    async def _finding(
        self, look: Look, record: RequiredRecord, last: RecordCheck | None
    ) -> Finding:
        """`last`: what the last look found, None where all is to be looked at."""
        finding = await look.finding(record)
        if finding.status is not RecordStatus.GOOD:
            if self._authority is None:
                return finding
            return await ZoneDoctor(self._authority).explained(record, finding)
        answer = look.answered(record)
        if answer is None or not record.is_required or not self._is_new(last, finding):
            return finding
        return await self._caches.remarked(record, finding, answer)

    def _is_new(self, last: RecordCheck | None, finding: Finding) -> bool:
        """Whether caches may still hold what was before the record became good."""
        if last is None or last.status is not RecordStatus.GOOD:
            return True
        if last.fault in (Fault.STALE_CACHE, Fault.NEGATIVE_CACHE):
            return True
        longest = timedelta(seconds=finding.ttl) + self._options.negative_ttl
        return self._clock.unix_ms() - (last.since or 0) < longest // _MS

    def _interval_ms(self, checks: tuple[RecordCheck, ...], stable_ms: int) -> int:
        options = self._options
        required = [check for check in checks if check.record.is_required]
        if any(check.status is not RecordStatus.GOOD for check in required):
            return options.while_broken // _MS
        return min(
            max(stable_ms // 10, options.shortest // _MS), options.longest // _MS
        )


class OwnDomainCheck:
    """The operator's own domain, as if it were a customer's whose keys are published by
    hand: what its reports are signed with. Looked at where it is asked for, no more often
    than its records' TTLs say; anew when its keys change."""

    def __init__(
        self,
        *,
        check: Callable[[Operator], DomainCheck],
        clock: Clock,
        is_assumed: bool = False,
    ) -> None:
        """`check` makes the one who looks; `is_assumed`: a test harness vouches for it."""
        self._make_check = check
        self._clock = clock
        self._is_assumed = is_assumed
        self._looking = asyncio.Lock()
        self._seen: _Seen | None = None

    async def state(self, operator: Operator) -> DomainState:
        """Return its state; the first call and those after the TTL wait for DNS."""
        async with self._looking:  # one look for all who wait
            seen = self._seen
            is_fresh = seen is not None and self._clock.unix_ms() < seen.next_check_at
            if seen is None or seen.operator != operator or not is_fresh:
                seen = self._seen = await self._look(operator)
            return seen.state

    async def _look(self, operator: Operator) -> "_Seen":
        settings = _own_settings(operator, is_assumed=self._is_assumed)
        before = self._seen
        facts, checks = (before.state.facts, before.checks) if before else (None, ())
        result = await self._make_check(operator).check(settings, facts, checks)
        state = DomainState(settings=settings, was_verified=True, facts=result.facts)
        return _Seen(operator, state, result.checks, result.next_check_at)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last look at the operator's domain."""

    operator: Operator
    state: DomainState
    checks: tuple[RecordCheck, ...]
    next_check_at: int


def _own_settings(operator: Operator, *, is_assumed: bool) -> DomainSettings:
    return DomainSettings(
        domain_id=DomainId(0),
        tenant=TenantId(""),
        name=operator.domain,
        mode=Mode.MANUAL,
        token="",
        bounce_label=operator.bounce_domain.removesuffix(f".{operator.domain}"),
        selectors=tuple(key.selector for key in operator.keys),
        on_broken=OnBroken.HOLD,
        sign_with_operator=False,
        assume_verified=is_assumed,
        keys=operator.keys,
    )


def _dmarc_in(checks: Iterable[RecordCheck]) -> RecordCheck | None:
    return next((c for c in checks if c.record.purpose is Purpose.DMARC), None)


def _asked(settings: DomainSettings, operator: Operator) -> tuple[RequiredRecord, ...]:
    """The required records, one for each name and type: several are one question."""
    records = {
        (record.owner, record.kind): record
        for record in reversed(required_records(settings, operator))
    }
    return tuple(reversed(records.values()))


def _place(record: RequiredRecord) -> _Place:
    return record.owner, record.kind, record.value


def _known(before: Iterable[RecordCheck]) -> dict[DnsName, str]:
    """What stood at names that were good, or of which nothing was heard since."""
    kept = (RecordStatus.GOOD, RecordStatus.UNKNOWN)
    return {one.record.owner: one.found for one in before if one.status in kept}


def _last_found(finding: Finding, last: RecordCheck | None) -> str:
    """What was there when an answer last came, where none does now."""
    is_silent = finding.status is RecordStatus.UNKNOWN
    return last.found if is_silent and last is not None else ""


def _record_check(
    record: RequiredRecord,
    finding: Finding,
    before: Mapping[_Place, RecordCheck],
    now: int,
) -> RecordCheck:
    is_good = finding.status is RecordStatus.GOOD
    last = before.get(_place(record))
    is_same = last is not None and (last.status, last.fault) == (
        finding.status,
        finding.fault,
    )
    return RecordCheck(
        record=record,
        status=finding.status,
        found=finding.found or _last_found(finding, last),
        cause=finding.cause,
        mend=finding.mend,
        ttl=finding.ttl,
        checked_at=now,
        good_at=now if is_good else (last.good_at if last else None),
        fault=finding.fault,
        since=last.since if last is not None and is_same else now,
        server=finding.server,
    )
