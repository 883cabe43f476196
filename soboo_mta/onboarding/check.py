"""One look at everything a sending domain needs in DNS, and the facts that follow.

Asks for each required record and judges the answer. An authoritative answer that shows a
record missing or wrong counts at once; no answer (SERVFAIL, time-out) keeps what was
last known good for at most 72 hours. Decides nothing about sending: `depart` does.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    DomainSettings,
    DomainState,
    Facts,
    Mode,
    OnBroken,
    Operator,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.onboarding.delegation import ZoneDoctor
from soboo_mta.onboarding.facts import Memory, facts_of
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.look import Look
from soboo_mta.ports import Authority, Clock, RecordType, Resolver

_MS = timedelta(milliseconds=1)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one look found. `owned`: this look saw a proof bound to this tenant.
    `forgets_at`: look again by then (unix ms), what is kept of older looks ends."""

    checks: tuple[RecordCheck, ...]
    facts: Facts
    owned: bool
    next_check_at: int  # unix ms; what is not good for long may be left longer
    forgets_at: int

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
    ) -> None:
        """`authority` None: a delegation is believed to the zone itself, and a fault of
        a zone is not told from one of its records."""
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
    ) -> CheckResult:
        """Look at every required record of one domain once.

        `previous` and `previous_checks` are the last look's. Never raises for what DNS
        can say. Several domains may be looked at at the same time.
        """
        records = {
            (record.owner, record.kind): record
            for record in reversed(required_records(settings, self._operator))
        }
        asked = tuple(reversed(records.values()))
        look = Look(
            resolver=self._resolver,
            settings=settings,
            operator=self._operator,
            suffixes=self._suffixes,
            authority=self._authority,
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._finding(look, record)) for record in asked]
        now = self._clock.unix_ms()
        before = {_place(check.record): check for check in previous_checks}
        seen = [
            (_record_check(record, finding, before, now), finding)
            for record, finding in zip(asked, [t.result() for t in tasks], strict=True)
        ]
        checks = tuple(check for check, _ in seen)
        memory = Memory(previous, now, self._options.last_known_good)
        facts = facts_of(settings, seen, memory)
        # At the end of what is kept of older looks: else all of it ends with that.
        forgets_at = facts.observed_at + self._options.last_known_good // _MS + 1
        interval = self._interval_ms(checks, now - facts.stable_since)
        return CheckResult(
            checks=checks,
            facts=facts,
            owned=any(finding.proves for _, finding in seen),
            next_check_at=min(now + interval, forgets_at),
            forgets_at=forgets_at,
        )

    async def _finding(self, look: Look, record: RequiredRecord) -> Finding:
        finding = await look.finding(record)
        if self._authority is None:
            return finding
        return await ZoneDoctor(self._authority).explained(record, finding)

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


_Place = tuple[DnsName, RecordType, str]


def _place(record: RequiredRecord) -> _Place:
    return record.owner, record.kind, record.value


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
        found=finding.found,
        cause=finding.cause,
        mend=finding.mend,
        ttl=finding.ttl,
        checked_at=now,
        good_at=now if is_good else (last.good_at if last else None),
        fault=finding.fault,
        since=last.since if last is not None and is_same else now,
    )
