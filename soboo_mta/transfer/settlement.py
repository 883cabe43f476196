"""What an attempt came to, settled: outcome, next time, attempt row, gate, what follows for
the suppression list and the report to its sender in one unit.

Recipients of a message that fail or are late together, within `Settling.together`, are
settled together and share a report. Fenced by the claim: a settlement made after the lease
was lost does nothing. Where the store is away it tries again while the claim is ours; a
delivery that cannot be recorded is tried again by whoever claims it next (at least once).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Protocol

from soboo_mta.events.attempt import AttemptFacts, attempted, plan_interned
from soboo_mta.events.event import recorded
from soboo_mta.events.log import EventLog
from soboo_mta.identity.facts_json import plan_to_json
from soboo_mta.identity.state import Plan
from soboo_mta.mail.ids import MessageId, PlanId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Outcome, Reason
from soboo_mta.mail.returned import Action
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.claim import LEAVING_NOTHING, Leaving
from soboo_mta.store.unit import Fenced, Statement, Step, StoreError, Unit
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.answers.troubles import Alert
from soboo_mta.transfer.departure import Departed, Lease
from soboo_mta.transfer.ready.fair import Job
from soboo_mta.transfer.reporting.due import action_due
from soboo_mta.transfer.reporting.reports import Ending, Reports
from soboo_mta.transfer.schedule import RetrySchedule, next_due, soon

_log = logging.getLogger(__name__)
_STORE_PAUSE = timedelta(milliseconds=250)  # before a settlement is tried again
MAX_PLANS = 20_000  # interned plans remembered
MAX_GATES = 10_000  # gates remembered as closed
_MOST_TOGETHER = 100  # recipients in one report: bounds its unit


def _a_future() -> "asyncio.Future[bool]":
    return asyncio.get_running_loop().create_future()


class Spool(Protocol):
    """Claims and their settlement (spool.Spool)."""

    async def claim_due(
        self, limit: int, *, leaving: Leaving = LEAVING_NOTHING
    ) -> tuple[Claimed, ...]: ...

    def settlement(
        self,
        claimed: Claimed,
        outcome: Outcome,
        *,
        at: int,
        due_at: int | None,
        site: str = "",
    ) -> list[Statement]: ...

    def given_back(
        self, claimed: Claimed, *, reason: Reason, due_at: int
    ) -> list[Statement]: ...

    def gate_closed(
        self, scope: str, subject: str, reason: Reason, explanation: str
    ) -> Statement: ...


class OwnLease(Lease, Protocol):
    """The lease, and the way to end it (spool.WorkerLease)."""

    def give_up(self) -> None:
        """End it soon: claims are forgotten that must come due again."""
        ...


class Ledger(Protocol):
    """Commits units of statements, synced (store.Writer)."""

    async def commit(self, unit: Unit) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How settled recipients go on."""

    retry: RetrySchedule
    interrupted: timedelta  # before what we broke off ourselves goes again
    together: timedelta = timedelta(milliseconds=250)  # for one report on several


class Settlements:
    """Settles jobs of this worker, one unit each; the ledger groups the commits."""

    def __init__(
        self,
        *,
        spool: Spool,
        ledger: Ledger,
        lease: OwnLease,
        log: EventLog,
        clock: Clock,
        random: Random,
        options: Settling,
        refusals: Refusals,
        reports: Reports | None = None,
    ) -> None:
        """`reports` None: senders are told nothing."""
        self._spool = spool
        self._ledger = ledger
        self._lease = lease
        self._log = log
        self._clock = clock
        self._random = random
        self._options = options
        self._refusals = refusals
        self._plans: OrderedDict[int, tuple[Plan, PlanId]] = OrderedDict()
        self._gates: dict[tuple[str, str], str] = {}
        self._is_abandoned = False
        self._reports = reports
        self._groups: dict[tuple[MessageId, int], _Group] = {}

    def abandon(self) -> None:
        """Try no commit again: what the store does not take now comes due with the
        lease's end."""
        self._is_abandoned = True

    async def settle(
        self, job: Job, departed: Departed, *, host: str, source: str
    ) -> None:
        """Record what became of `job`; returns when it is committed or no longer ours."""
        claimed, now = job.claimed, self._clock.unix_ms()
        outcome, due_at = self._judged(claimed, departed.outcome, now)
        settlement = self._spool.settlement(
            claimed, outcome, at=now, due_at=due_at, site=departed.site
        )
        plan_id, interned = self._interned(departed.plan)
        unit: list[Statement | Step] = [*settlement, *interned]
        facts = AttemptFacts(
            at=now,
            host=host,
            source=source,
            tls=departed.tls,
            duration_ms=departed.duration_ms,
            plan_id=plan_id,
            dialogue=departed.dialogue,
        )
        message = claimed.message
        unit.append(attempted(message.message_id, claimed.position, outcome, facts))
        bounce_class = self._refusals.class_of(outcome, host)
        unit += self._refusals.following(message, outcome, bounce_class, host)
        if isinstance(outcome, Held):
            unit += self._gate(message, outcome)
        if (follow := self._refusals.consequences) is not None:
            unit += follow.of(claimed, departed.outcome, outcome, host=host, at=now)
        ending = self._ending(job, departed, outcome, facts)
        kept = self._commit(job, unit) if not ending else self._told(job, unit, ending)
        if await kept:
            self._remember(departed.plan, plan_id)
            self._log.settled(
                message,
                claimed.position,
                outcome,
                host=host,
                next_attempt=due_at,
                bounce_class=bounce_class,
            )

    async def give_back(self, job: Job, *, after: timedelta) -> None:
        """Make an untried recipient due again for any worker, after about `after`; one that
        had its turn has it still."""
        chance = self._random.random()
        due_at = soon(self._clock.unix_ms(), after=after, chance=chance)
        reason = Reason.SLOWED if job.claimed.had_turn else Reason.CAPACITY
        unit = self._spool.given_back(job.claimed, reason=reason, due_at=due_at)
        await self._commit(job, unit)

    async def put_off(self, job: Job, wait: timedelta | None) -> None:
        """Let an untried recipient be due at its turn; None: it got none, and is due at the
        end of its life, by which it is known again (spool.moves.claim)."""
        due_at = end = job.claimed.message.expires_at
        if wait is not None:
            due_at = self._clock.unix_ms() + wait // timedelta(milliseconds=1)
            due_at = due_at + 1 if due_at == end else due_at
        unit = self._spool.given_back(job.claimed, reason=Reason.SLOWED, due_at=due_at)
        await self._commit(job, unit)

    async def tell(self, alert: Alert) -> None:
        """Record what an operator should see; in the log alone where the store is away."""
        self._log.alert(
            alert.kind.value,
            source=alert.source,
            site=alert.site,
            tenant=alert.tenant,
            reply=alert.reply,
        )
        event = recorded(
            alert.kind,
            at=self._clock.unix_ms(),
            actor="transfer",
            tenant=alert.tenant,
            detail={"source": alert.source, "site": alert.site, "reply": alert.reply},
        )
        try:
            await self._ledger.commit([event])
        except StoreError as error:
            _log.warning("an alert could not be recorded: %s", error)

    # ---- with the report that is due

    def _ending(
        self, job: Job, departed: Departed, outcome: Outcome, facts: AttemptFacts
    ) -> Ending | None:
        """What is to be reported of this outcome, if anything is."""
        message, now = job.claimed.message, facts.at
        if isinstance(outcome, Delivered) and message.dsn is None:
            return None  # nearly all there is
        if self._reports is None or isinstance(outcome, Held):
            return None
        action = action_due(
            job.claimed,
            outcome,
            asked_on=departed.asked_on,
            waited=_since(message, self._options.retry, now),
            policy=self._reports.policy,
        )
        if action is None:
            return None
        reason = getattr(departed.outcome, "reason", Reason.REPLY)
        return Ending(
            position=job.claimed.position,
            action=action,
            reason=reason,
            reply=outcome.reply,
            host=facts.host if reason is Reason.REPLY else "",
            at=now,
            is_expired=isinstance(outcome, Failed)
            and outcome.reason is Reason.LIFETIME,
        )

    async def _told(self, job: Job, unit: Unit, ending: Ending) -> bool:
        """Commit the unit with the report on its ending."""
        is_alone = len(job.claimed.message.recipients) == 1
        # What was delivered is not left uncommitted: a crash would deliver it again.
        if is_alone or ending.action is Action.RELAYED:
            return await self._commit_reported(job, _Group([ending], [*unit]))
        key = (job.claimed.message.message_id, job.epoch)
        group = self._groups.get(key)
        if group is not None and len(group.endings) < _MOST_TOGETHER:
            group.endings.append(ending)
            group.unit += unit
            return await asyncio.shield(group.kept)
        group = self._groups[key] = _Group([ending], [*unit])
        try:
            await asyncio.sleep(self._options.together.total_seconds())
            if self._groups.get(key) is group:
                del self._groups[key]
            is_kept = await self._commit_reported(job, group)
        except BaseException:
            group.kept.set_result(False)
            raise
        group.kept.set_result(is_kept)
        return is_kept

    async def _commit_reported(self, job: Job, group: "_Group") -> bool:
        report = await self._report(job, group.endings)
        if report is None:
            return False
        return await self._commit(job, [*group.unit, *report])

    async def _report(
        self, job: Job, endings: Sequence[Ending]
    ) -> list[Statement] | None:
        """The report's statements; None where the claim was lost before they could be."""
        assert self._reports is not None
        message = job.claimed.message
        while job.epoch == self._lease.epoch:
            try:
                return await self._reports.made(message, endings)
            except StoreError as error:
                if not await self._may_try_again(error):
                    return None
            except Exception:  # noqa: BLE001 - logged, and the message is still settled:
                # else it would be tried, and perhaps delivered, again and again.
                _log.exception("no report could be made on %s", message.message_id)
                return []
        return None

    # ----

    def _judged(
        self, claimed: Claimed, outcome: Outcome, now: int
    ) -> tuple[Outcome, int | None]:
        """The outcome to record and when to try again: a Deferred may be the last."""
        if not isinstance(outcome, Deferred):
            return outcome, None
        chance = self._random.random()
        if outcome.reason is Reason.INTERRUPTED:
            return outcome, soon(now, after=self._options.interrupted, chance=chance)
        due_at = next_due(
            self._options.retry,
            attempts=claimed.attempts + 1,
            now=now,
            expires_at=claimed.message.expires_at,
            outcome=outcome,
            chance=chance,
        )
        if due_at is not None:
            return outcome, due_at
        over = Failed(reply=outcome.reply, reason=Reason.LIFETIME, scope=outcome.scope)
        return over, None

    def _interned(self, plan: Plan | None) -> tuple[PlanId | None, list[Statement]]:
        """The plan's id, and the statement that keeps it until it is known as kept."""
        if plan is None:
            return None, []
        known = self._plans.get(id(plan))
        if known is not None and known[0] is plan:
            return known[1], []
        plan_id, statement = plan_interned(plan_to_json(plan))
        return plan_id, [statement]

    def _remember(self, plan: Plan | None, plan_id: PlanId | None) -> None:
        if plan is not None and plan_id is not None:
            self._plans[id(plan)] = (plan, plan_id)  # holds the plan: the id stays its
            while len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)

    def _gate(self, message: SpooledMessage, held: Held) -> list[Statement]:
        """The gate row of a broken domain.

        Every hold closes it (a closed one stays as it is): it may have been opened since
        by somebody else, and a hold is rare. Logged when it is news. A suspended tenant's
        gate is left to who suspends and resumes it: closed here, on a view that is a
        moment old, it could shut after the resumption, and nobody would open it again.
        So is a gate that an operator closed by hand.
        """
        if held.gate is not None or held.reason is Reason.TENANT_SUSPENDED:
            return []
        scope, subject = "domain", str(message.domain_id)
        if self._gates.get((scope, subject)) != held.explanation:
            if len(self._gates) >= MAX_GATES:
                self._gates.clear()
            self._gates[scope, subject] = held.explanation
            self._log.gate_closed(scope, subject, held.explanation)
        return [self._spool.gate_closed(scope, subject, held.reason, held.explanation)]

    async def _commit(self, job: Job, unit: Unit) -> bool:
        """Commit while the claim is ours, again and again where the store is away.

        Past the lease's time too, until it is taken anew: what was delivered wants to be
        told, and a claim that somebody took over is fenced.
        """
        while job.epoch == self._lease.epoch:
            try:
                await self._ledger.commit(unit)
            except Fenced:
                _log.warning("%s was no longer ours", job.claimed.message.message_id)
                return False
            except StoreError as error:
                if not await self._may_try_again(error):
                    return False
            else:
                return True
        return False

    async def _may_try_again(self, error: StoreError) -> bool:
        """Wait a moment after the store's trouble; False: not any more."""
        _log.warning("cannot settle yet: %s", error)
        await asyncio.sleep(_STORE_PAUSE.total_seconds())
        if self._is_abandoned:
            self._lease.give_up()
            return False
        if not self._lease.may_start_attempt:
            self._lease.give_up()  # else the claim would outlive our memory
        return True


@dataclass(slots=True, eq=False)
class _Group:
    """Recipients of one message that are settled together, and what is told of them."""

    endings: list[Ending]
    unit: list[Statement | Step]
    kept: "asyncio.Future[bool]" = field(default_factory=_a_future)


def _since(message: SpooledMessage, retry: RetrySchedule, now: int) -> timedelta:
    """How long the message has been allowed to leave: its expiry counts from then."""
    released = message.expires_at - retry.lifetime // timedelta(milliseconds=1)
    return timedelta(milliseconds=now - max(released, message.accepted_at))
