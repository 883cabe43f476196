"""The transfer engine: everything claimed by this worker, on its way or being settled.

Takes what was just committed (`offer`) and what is due in the spool, finds each recipient's
site, feeds the ready queues and settles what they came to. What is in memory is bounded; the
rest goes back to the spool, never lost. All tasks live inside `run`; `drain` ends it.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random

from soboo_mta.events.log import EventLog
from soboo_mta.identity.state import Source
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Deferred
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import Clock, Connector
from soboo_mta.spool.capacity import LONGEST_LINE
from soboo_mta.spool.operator.orders import Slowed
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.answers.refusals import Refusals
from soboo_mta.transfer.answers.troubles import Alert, Troubles
from soboo_mta.transfer.classify import NO_TURN
from soboo_mta.transfer.departure import Departed, Departures
from soboo_mta.transfer.leaving.suppression import suppressed, whose
from soboo_mta.transfer.limits.options import TransferOptions
from soboo_mta.transfer.limits.slowing import Slowing
from soboo_mta.transfer.ready.crowds import Crowds
from soboo_mta.transfer.ready.fair import Job
from soboo_mta.transfer.ready.holdings import Holdings
from soboo_mta.transfer.ready.queues import Queues
from soboo_mta.transfer.ready.street import Capacity, Street
from soboo_mta.transfer.reporting.reports import Reports
from soboo_mta.transfer.routing.finder import Destination, Site, SiteFinder
from soboo_mta.transfer.routing.orders import Orders
from soboo_mta.transfer.routing.pools import Pools
from soboo_mta.transfer.routing.seeker import Seeker
from soboo_mta.transfer.settlement import (
    Ledger,
    OwnLease,
    Settlements,
    Settling,
    Spool,
)

_log = logging.getLogger(__name__)
_MS = timedelta(milliseconds=1)
_ALL_FAMILIES = frozenset((4, 6))
_TICK = timedelta(milliseconds=100)  # fences are looked at so often
_NOW = timedelta(milliseconds=50)  # a turn so near is waited for in memory: not at all
_LAST_WORD = timedelta(seconds=3)  # for settlements, once all is interrupted


class TransferEngine:
    """See the module. `offer`, `room_for` and `acknowledged_generation` never wait."""

    def __init__(
        self,
        *,
        spool: Spool,
        ledger: Ledger,
        lease: OwnLease,
        log: EventLog,
        capacity: Capacity,
        departures: Departures,
        finder: SiteFinder,
        orders: Orders,
        connector: Connector,
        sources: Sequence[Source],
        clock: Clock,
        random: Random,
        refusals: Refusals,
        options: TransferOptions | None = None,
        reports: Reports | None = None,
    ) -> None:
        self._spool = spool
        self._lease = lease
        self._departures = departures
        self._orders = orders
        self._clock = clock
        self._options = given = options or TransferOptions()
        self._pools = given.pools or Pools.of(sources)
        self._settlements = Settlements(
            spool=spool,
            ledger=ledger,
            lease=lease,
            log=log,
            clock=clock,
            random=random,
            options=Settling(retry=given.retry, interrupted=given.interrupted),
            refusals=refusals,
            reports=reports,
        )
        self._troubles = Troubles(clock, rests=given.rests, tell=self._tell)
        street = Street(
            departures=departures,
            connector=connector,
            capacity=capacity,
            desk=self,
            troubles=self._troubles,
            clock=clock,
            random=random,
            options=given.ready,
        )
        self._queues = Queues(street, self._start)
        self._seeker = Seeker(finder, look_ups=given.lookups, start=self._start)
        self._slowing = Slowing(capacity, given.slow_to)
        self._crowds = Crowds(clock, rest=given.crowded)
        self._holdings = Holdings(
            recipients=given.recipients,
            octets=given.octets,
            tenant_share=given.tenant_share,
        )
        self._unsettled = 0
        self._settled, self._wake = asyncio.Event(), asyncio.Event()
        self._closing, self._ended = asyncio.Event(), asyncio.Event()
        self.started = asyncio.Event()
        self._working, self._settling = asyncio.TaskGroup(), asyncio.TaskGroup()

    # ---- from acceptance and the daemon

    def room_for(self, size: int, tenant: TenantId | None = None) -> bool:
        """Whether a message of `size` octets may be offered: else commit it unclaimed."""
        return (
            self.started.is_set()
            and not self._closing.is_set()
            and self._holdings.fits(size)
            and (tenant is None or not self._holdings.has_its_share(tenant))
        )

    def offer(self, message: SpooledMessage, positions: Sequence[int]) -> None:
        """Take recipients that were just committed as claimed by this worker."""
        for position in positions:
            self._admit(Claimed(message=message, position=position, attempts=0))

    @property
    def load(self) -> tuple[int, int]:
        """Connections to next hops, and recipients claimed and not settled yet."""
        return self._queues.lines, self._holdings.recipients

    def wake(self) -> None:
        """Look into the spool now: something may be due."""
        self._wake.set()

    def acknowledged_generation(self) -> int:
        """The identity generation before which nothing of ours is under way."""
        return self._departures.acknowledged_generation()

    async def run(self) -> None:
        """Work until `drain`; returns when nothing is on its way or unsettled."""
        try:
            async with self._settling, self._working:
                self._working.create_task(self._claim())
                self._working.create_task(self._watch())
                self._start(self._keep_up(), "the fence of identities")
                self._working.create_task(self._queues.share(self._closing))
                self.started.set()
                await self._closing.wait()
        finally:
            self._ended.set()

    async def drain(self, grace: timedelta) -> None:
        """Start nothing more, let what is under way finish for `grace`, interrupt the
        rest (Deferred), settle all, and return when `run` has ended."""
        self._closing.set()
        if not self.started.is_set():
            return
        self._wake.set()
        self._queues.close()
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._ended.wait()
        except TimeoutError:
            await self._interrupted()

    async def _interrupted(self) -> None:
        """Again and again: what was between two steps begins its next one later."""
        latest = asyncio.get_running_loop().time() + _LAST_WORD.total_seconds()
        while not self._ended.is_set():
            if asyncio.get_running_loop().time() >= latest:
                self._settlements.abandon()
            self._departures.interrupt_all()
            self._queues.interrupt()
            try:
                async with asyncio.timeout(_TICK.total_seconds()):
                    await self._ended.wait()
            except TimeoutError:
                continue

    # ---- into a ready queue

    def _admit(self, claimed: Claimed) -> None:
        message = claimed.message
        crowded = self._holdings.has_its_share(message.tenant)
        self._holdings.take(message)
        job = Job(
            claimed=claimed,
            weight=self._departures.planner.weight(message.tenant),
            epoch=self._lease.epoch,
            since=self._clock.monotonic(),
        )
        if crowded or self._closing.is_set():
            self._hand_back(job)
        else:
            self._sift(job)

    def _sift(self, job: Job) -> None:
        """Settle a suppressed recipient at once; departure asks again (case 164)."""
        departures, tenant = self._departures, job.claimed.message.tenant
        because = departures.suppressions.known(*whose(job.claimed))
        has_choice = self._pools.are_chosen and not departures.planner.knows(tenant)
        if because is None or has_choice:
            self._start(self._ask_for(job), f"look at {tenant}")
        elif because:
            self.settle(job, Departed(outcome=suppressed(because), plan=None), "")
        else:
            self._place(job)

    async def _ask_for(self, job: Job) -> None:
        tenant = job.claimed.message.tenant
        try:
            await self._departures.suppressions.why(*whose(job.claimed))
            await self._departures.planner.look(tenant)
        except StoreError as error:
            _log.warning("cannot look at %s yet: %s", tenant, error)
            self._hand_back(job)
        else:
            self._sift(job)

    def _place(self, job: Job) -> None:
        if self._is_held(job, ""):
            return
        if not self._is_slowed(job):
            goal = self._orders.route(job.claimed) or job.claimed.recipient.domain
            self._seeker.find(goal, partial(self._dispatch, job))

    def _is_slowed(self, job: Job) -> bool:
        """Whether the job has to wait for a turn; it then does."""
        slowed = self._orders.slowed(job.claimed)
        if slowed is not None:
            self._start(self._wait_for_turn(job, slowed), "turn")
        return slowed is not None

    async def _wait_for_turn(self, job: Job, slowed: Slowed) -> None:
        """In the spool, where the turn is not now: the recipient goes once it is due. None
        is taken that comes after its life: it then waits for the line to become shorter, and
        expires. What comes when its life is over was held, or is tried for the last time."""
        left = (job.claimed.message.expires_at - self._clock.unix_ms()) * _MS
        is_late = left <= timedelta(0) and not job.claimed.waited_out
        within = LONGEST_LINE if is_late else min(max(_NOW, left), LONGEST_LINE)
        wait = await self._slowing.turn(slowed, within=within, epoch=job.epoch)
        if wait is None:
            self._hand_back(job)
        elif wait <= _NOW:
            claimed = replace(job.claimed, had_turn=True)
            self._place(replace(job, claimed=claimed))
        elif wait <= within or left > timedelta(0):
            turn = wait if wait <= within else None
            self._end(job, self._settlements.put_off(job, turn))
        else:
            self.settle(job, Departed(outcome=NO_TURN, plan=None), "")

    def _is_held(self, job: Job, site: str) -> bool:
        """Whether an operator's order holds the job; it then is settled as held."""
        if not self._orders.hold_something:
            return False
        source = (job.source or self._source_of(job)).name
        held = self._orders.hold(job.claimed, source=source, site=site)
        if held is None:
            return False
        self.settle(job, Departed(outcome=held, plan=None, site=site), "")
        return True

    def _dispatch(self, job: Job, destination: Destination) -> None:
        if not isinstance(destination, Site):
            self.settle(job, Departed(outcome=destination, plan=None), "")
            return
        if self._closing.is_set():
            self.give_back(job)
            return
        tenant, source = job.claimed.message.tenant, self._source_of(job, destination)
        job = replace(job, source=source)
        if self._is_held(job, destination.name):
            return
        known = self._troubles.standing(source, destination, tenant)
        if known is not None:
            departed = Departed(outcome=known, plan=None, site=destination.name)
            self.settle(job, departed, "")
            return
        queue = self._queues.to(source, destination, epoch=self._lease.epoch)
        if queue.is_full:
            self.give_back(job)
        elif queue.is_half_full_of(tenant):  # the other half is for others
            self._crowds.note(job.claimed.recipient.domain, of=tenant, at=queue)
            self._hand_back(job)
        else:
            queue.add(job)

    def _source_of(self, job: Job, site: Site | None = None) -> Source:
        return self._pools.choose(
            job.claimed,
            self._departures.planner.chosen_pool(job.claimed.message.tenant),
            families=_ALL_FAMILIES if site is None else site.families,
            paused=self._troubles.paused_sources(),
        )

    # ---- the desk of the ready queues

    def owns(self, job: Job, site: Site) -> bool:
        if job.epoch == self._lease.epoch and self._lease.may_start_attempt:
            return not (
                self._is_held(job, site.name)
                or self._is_slowed(job)
                or self._is_rerouted(job, site)
            )
        if job.epoch == self._lease.epoch:
            self._lease.give_up()  # it was not renewed in time, and must not be now
        # somebody else's by now, or soon: its row comes due again
        self._holdings.let_go(job.claimed.message)
        return False

    def _is_rerouted(self, job: Job, site: Site) -> bool:
        """Whether an order made since sends the job elsewhere; it then is on its way."""
        way = self._orders.route(job.claimed)
        if way is None or way.name == site.name:
            return False
        self._place(job)
        return True

    def settle(self, job: Job, departed: Departed, host: str) -> None:
        settle, source = self._settlements.settle, job.source.name if job.source else ""
        self._end(job, settle(job, departed, host=host, source=source))

    def give_back(self, job: Job) -> None:
        self._crowds.note(job.claimed.recipient.domain)
        self._hand_back(job)

    def _hand_back(self, job: Job) -> None:
        """As `give_back`, where others' mail for the same domain finds room."""
        after = timedelta(0) if self._closing.is_set() else self._options.handed_back
        self._end(job, self._settlements.give_back(job, after=after))

    def source_failed(
        self, source: Source, outcome: Deferred, jobs: Sequence[Job]
    ) -> None:
        self._troubles.source_failed(source, outcome)
        for job in jobs:
            self._place(job)  # from another one, where the pool has it

    def _tell(self, alert: Alert) -> None:
        self._start(self._settlements.tell(alert), "alert")

    async def pace(self) -> None:
        """Wait while too many outcomes are uncommitted."""
        while self._unsettled >= self._options.unsettled:
            self._settled.clear()
            await self._settled.wait()

    # ---- settling

    def _end(self, job: Job, settling: Coroutine[None, None, None]) -> None:
        self._unsettled += 1
        self._settling.create_task(self._ended_with(job, settling))

    async def _ended_with(
        self, job: Job, settling: Coroutine[None, None, None]
    ) -> None:
        try:
            await settling
        except Exception:  # noqa: BLE001 - a task root; the claim returns with the lease
            self._lease.give_up()  # which must end, or the claim would outlive our memory
            _log.exception("settling %s broke", job.claimed.message.message_id)
        finally:
            self._holdings.let_go(job.claimed.message)
            self._unsettled -= 1
            self._settled.set()

    # ---- standing tasks

    async def _claim(self) -> None:
        """Claim what is due, as much as there is room for, until closing."""
        while not self._closing.is_set():
            self._wake.clear()
            if await self._claim_some() < self._options.claim_batch:
                pause = self._options.claim_every.total_seconds()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def _claim_some(self) -> int:
        room = min(self._holdings.room, self._options.claim_batch)
        if room <= 0 or not self._lease.may_start_attempt:
            return 0
        leaving = self._crowds.leaving(self._holdings.tenants_with_their_share())
        try:
            claimed = await self._spool.claim_due(room, leaving=leaving)
        except StoreError as error:
            _log.warning("cannot claim yet: %s", error)
            return 0
        except Exception:  # noqa: BLE001 - a task root: claims go on
            _log.exception("claiming broke")
            return 0
        for one in claimed:
            self._admit(one)
        return len(claimed)

    async def _watch(self) -> None:
        """Keep the fence of the lease."""
        while self._goes_on:
            await asyncio.sleep(_TICK.total_seconds())
            if not self._lease.may_start_attempt:
                self._departures.interrupt_all()

    async def _keep_up(self) -> None:
        """Keep the fence of the identity generation: the store may be asked."""
        while self._goes_on:
            await asyncio.sleep(_TICK.total_seconds())
            await self._departures.cut_short(older_than=self._options.fence_patience)

    @property
    def _goes_on(self) -> bool:
        return not self._closing.is_set() or bool(self._queues) or bool(self._seeker)

    def _start(self, work: Coroutine[None, None, None], what: str) -> None:
        self._working.create_task(self._guarded(work, what))

    async def _guarded(self, work: Coroutine[None, None, None], what: str) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - a task root: one must not end all others
            self._lease.give_up()  # else a claim it had in hand would outlive our memory
            _log.exception("%s broke", what)
