"""A ready queue: what may leave now from one source to one site, and its connections.

Tenants are served by weighted fair queueing, so that none waits for another's backlog.
Connections are opened under leased capacity, slowly until the site has proved itself,
kept while there is work, and each carries one transaction after another. Never decides
what becomes of a recipient: that is told to its `Desk`.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from soboo_mta.identity.state import Source
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import (
    Deferred,
    Delivered,
    Failed,
    Scope,
)
from soboo_mta.mail.reply import Reply
from soboo_mta.ports import ConnectFailure
from soboo_mta.transfer.classify import INTERNAL, INTERRUPTED, is_of_source
from soboo_mta.transfer.departure import Departed
from soboo_mta.transfer.limits.pacer import Pacer
from soboo_mta.transfer.limits.share import Share
from soboo_mta.transfer.ready.fair import FairQueue, Job
from soboo_mta.transfer.ready.line import NO_FAMILY, Line, Unreached
from soboo_mta.transfer.ready.street import Street
from soboo_mta.transfer.routing.finder import Site
from soboo_mta.transfer.routing.resting import RestingHosts

_log = logging.getLogger(__name__)
CONTENT_REFUSALS = 5  # in a row, before a tenant's mail waits: one may be a bad message
MAX_HOST_TRIES = 2  # hosts tried at once for one message that broke before its content


class ReadyQueue:
    """What may leave now from `source` to `site`. `add` at any time; `run` once."""

    def __init__(
        self, *, site: Site, source: Source, street: Street, epoch: int
    ) -> None:
        self.epoch = epoch  # of the lease under which its shares are taken
        self.site = site
        self.source = source
        self.is_over = False  # run() will do nothing more: begin a new queue
        self._street = street
        self._options = street.options
        self._jobs = FairQueue()
        self._idlers: list[asyncio.Future[None]] = []
        self._staffing = asyncio.Event()
        self._closed = asyncio.Event()
        self._hosts = RestingHosts(
            street.clock, street.random, rest=self._options.host_rest
        )
        self._refused: Counter[TenantId] = Counter()  # contents in a row
        self._lines = 0  # connection tasks
        self._sessions = 0  # of them with a session
        place, rate = (site.limits.key, source.name), site.limits.rate
        self.share = Share(
            street.capacity,
            place,
            limit=site.limits.connections or self._options.connections,
            ask_again=self._options.ask_again,
            epoch=epoch,
        )
        self._pacer = Pacer(street.capacity, place, rate, epoch=epoch) if rate else None
        self._ceiling_until = 0.0
        self._has_delivered = False
        self._is_closing = False
        self._opening: set[asyncio.Timeout] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def is_full(self) -> bool:
        return len(self._jobs) >= self._options.waiting

    def is_half_full_of(self, tenant: TenantId) -> bool:
        return 2 * self._jobs.of(tenant) >= self._options.waiting

    def has_much_of(self, tenant: TenantId) -> bool:
        """Whether a claim for the tenant is not worth its transaction yet."""
        return 4 * self._jobs.of(tenant) >= self._options.waiting

    def add(self, job: Job) -> None:
        self._jobs.add(job)
        while self._idlers:
            idler = self._idlers.pop()  # the latest: the others may grow idle
            if not idler.done():
                idler.set_result(None)
                return
        if self._lines < self._ceiling():
            self._staffing.set()

    @property
    def lines(self) -> int:
        """Connections, those being opened included."""
        return self._lines

    def make_room(self, surplus: int) -> int:
        """Give other workers, which wait for this site, `surplus` of our connections and
        those that are idle, each when its transaction is over; return how many."""
        owed = self.share.owe(max(surplus, len(self._idlers)))
        for idler in self._idlers[:owed]:
            if not idler.done():
                idler.set_result(None)
        self._staffing.set()
        return owed

    def close(self) -> None:
        """Let what is under way finish, then end; what waits is given back."""
        self._is_closing = True
        self._closed.set()
        for idler in self._idlers:
            if not idler.done():
                idler.set_result(None)
        self._staffing.set()

    def interrupt(self) -> None:
        """Give up connections that are still being opened."""
        for limit in self._opening:
            limit.reschedule(0)

    async def run(self) -> None:
        """Open connections as there is work and capacity; return when there is none."""
        try:
            async with asyncio.TaskGroup() as lines:
                while not self._is_done():
                    self._staffing.clear()
                    await self._staff(lines)
                    await self._wait()
        finally:
            self.is_over = True  # before anything is awaited: no job comes too late
            for job in self._jobs.clear():
                self._street.desk.give_back(job)
            await self.share.give_back(self.share.held)

    # ---- how many connections

    def _is_done(self) -> bool:
        return self._lines == 0 and (self._is_closing or not len(self._jobs))

    def _ceiling(self) -> int:
        if self._street.clock.monotonic() < self._ceiling_until:
            return max(1, self._sessions)
        most = self.share.limit
        if self._pacer is not None:
            most = min(most, self._pacer.lines)
        return (
            most if self._has_delivered else min(self._options.first_connections, most)
        )

    async def _staff(self, lines: asyncio.TaskGroup) -> None:
        if self._is_closing:
            return
        share = self.share
        await share.pay_back(self._lines)
        wanted = min(self._lines + len(self._jobs), self._ceiling())
        if wanted > share.held:
            await share.take(wanted - share.held)
        for _ in range(min(wanted, share.held - share.owed) - self._lines):
            self._lines += 1
            lines.create_task(self._work())
        if self._lines == 0:
            self._give_back_denied()

    def _give_back_denied(self) -> None:
        """Without a connection for too long: others may have capacity (case 167)."""
        latest = self._street.clock.monotonic() - self._options.denied.total_seconds()
        for job in self._jobs.clear():
            if job.since <= latest:
                self._street.desk.give_back(job)
            else:
                self._jobs.add(job)

    async def _wait(self) -> None:
        """Until work wants a connection; in vain for the idle time: return the surplus."""
        denied = self._lines == 0 and len(self._jobs) > 0
        patience = self._options.ask_again if denied else self._options.idle
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self._staffing.wait()
        except TimeoutError:
            await self.share.give_back(self.share.held - self._lines)

    # ---- one connection

    async def _work(self) -> None:
        line = Line()
        try:
            while (job := await self._next(line)) is not None:
                if not await self._tried(line, job):
                    break
                await self._street.desk.pace()
        finally:
            had_session = line.session is not None
            try:
                await line.close()
            except Exception:  # noqa: BLE001 - a task root: it must not end the others
                _log.exception("closing a connection broke")
            finally:  # only now: until QUIT is answered it counts at the peer
                self._lines -= 1
                self._sessions -= had_session
                self._staffing.set()

    async def _next(self, line: Line) -> Job | None:
        """The next job, after waiting for one at most the idle time; None: no more."""
        while not (self._is_closing or self.share.is_owed_by(self._lines)):
            if self._pacer is not None and len(self._jobs):
                await self._wait_for_turn(self._pacer, line)
                if self._is_closing:
                    return None
            job = self._jobs.take()
            if job is not None:
                return job
            idler = asyncio.get_running_loop().create_future()
            self._idlers.append(idler)
            try:
                async with asyncio.timeout(self._options.idle.total_seconds()):
                    await idler
            except TimeoutError:
                if idler in self._idlers:  # else it was woken just now
                    self._idlers.remove(idler)
                return self._jobs.take()
        return None

    async def _wait_for_turn(self, pacer: Pacer, line: Line) -> None:
        """Until the rate allows a transaction; the peer is not kept waiting for long."""
        wait = await pacer.turn(len(self._jobs))
        if wait > self._options.idle.total_seconds() and line.session is not None:
            self._sessions -= 1
            await line.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._closed.wait()

    async def _tried(self, line: Line, job: Job) -> bool:
        """As `_carry`; an error of ours leaves the recipient queued, never lost."""
        try:
            await self._retire(line)  # broken, worn out, or left by the peer
            if not self._street.desk.owns(job, self.site):
                return True
            return await self._carry(line, job)
        except Exception:  # noqa: BLE001 - a task root: nothing above could put the job back
            _log.exception("departure of %s broke", job.claimed.message.message_id)
            departed = Departed(outcome=INTERNAL, plan=None)
            self._street.desk.settle(job, departed, line.host)
            return False

    async def _carry(self, line: Line, job: Job) -> bool:
        """Bring one job to its outcome; False: this connection is of no more use."""
        street, message = self._street, job.claimed.message
        hold = street.departures.planner.standing_hold(message, self.source)
        if hold is not None:
            street.desk.settle(job, Departed(outcome=hold, plan=None), "")
            return True
        if line.session is None:
            failure = await self._opened(line)
            if failure is not None:
                self._unreachable(job, failure)
                return False
        session = line.session
        assert session is not None
        line.used += 1
        departed = await street.departures.depart(
            session, job.claimed, self.source, epoch=job.epoch
        )
        self._close_case(line, job, departed)
        return True

    def _close_case(self, line: Line, job: Job, departed: Departed) -> None:
        """Settle the job, or let it try another host at once (Scope.HOST)."""
        outcome, tenant = departed.outcome, job.claimed.message.tenant
        match outcome:
            case Delivered():
                self._has_delivered = True
                self._refused.pop(tenant, None)
                self._street.desk.settle(job, departed, line.host)
                return
            case Deferred(scope=Scope.HOST):
                if self._goes_elsewhere(line, job):
                    self.add(replace(job, host_tries=job.host_tries + 1))
                    return
            case Deferred(scope=Scope.SITE):
                self._fail_site(Unreached(outcome))
            case Deferred(scope=Scope.TENANT) | Failed(scope=Scope.TENANT):
                self._refuse(tenant, outcome.reply)
        departed = replace(departed, site=self.site.name)
        self._street.desk.settle(job, departed, line.host)

    def _goes_elsewhere(self, line: Line, job: Job) -> bool:
        if line.used == 1 and line.hop is not None:  # not a kept one grown stale
            self._hosts.rest(line.hop)
        elsewhere = line.used > 1 or self._hosts.have_another(self.site, self.source)
        return elsewhere and job.host_tries < MAX_HOST_TRIES and not self._is_closing

    def _refuse(self, tenant: TenantId, reply: Reply) -> None:
        """The site refused what the tenant sends: again and again, and its mail waits."""
        self._refused[tenant] += 1
        if self._refused[tenant] < CONTENT_REFUSALS:
            return
        del self._refused[tenant]
        troubles, desk = self._street.troubles, self._street.desk
        waits = troubles.content_blocked(self.site, self.source, tenant, reply)
        for job in self._jobs.take_of(tenant):
            desk.settle(job, Departed(outcome=waits, plan=None), "")

    async def _retire(self, line: Line) -> None:
        """Close the session that is broken, or has carried enough."""
        session = line.session
        if session is None:
            return
        age = self._street.clock.monotonic() - line.opened
        if (
            session.is_usable
            and line.used < self._options.transactions
            and age < self._options.connection_life.total_seconds()
        ):
            return
        self._sessions -= 1
        await line.close()

    # ---- reaching a host

    async def _opened(self, line: Line) -> Unreached | None:
        """As `_open`, unless interrupted."""
        try:
            async with asyncio.timeout(None) as limit:
                self._opening.add(limit)
                try:
                    return await self._open(line)
                finally:
                    self._opening.discard(limit)
        except TimeoutError:
            return Unreached(INTERRUPTED)

    async def _open(self, line: Line) -> Unreached | None:
        """Open a session to the best host that gives one; else the last one's refusal."""
        unreached = NO_FAMILY
        for hop in self._hosts.in_order(self.site, self.source):
            opened = await self._street.connector.connect(
                hop,
                ehlo=self.source.ehlo_name,
                source_address=self.source.address,
                tls=self.site.tls,
            )
            if not isinstance(opened, ConnectFailure):
                line.session, line.hop, line.used = opened, hop, 0
                line.opened = self._street.clock.monotonic()
                self._sessions += 1
                return None
            unreached = Unreached(opened.outcome, str(hop), opened.dialogue)
            if is_of_source(opened.outcome):
                break
            self._hosts.rest(hop)
            if self._is_closing:
                break
        return unreached

    def _unreachable(self, job: Job, unreached: Unreached) -> None:
        """With sessions open the site only wants fewer; else nobody gets there now."""
        street, outcome = self._street, unreached.outcome
        if outcome is INTERRUPTED:
            street.desk.give_back(job)
            return
        if is_of_source(outcome):
            jobs = (job, *self._jobs.clear())
            street.desk.source_failed(self.source, outcome, jobs)
            return
        if self._sessions:
            now = street.clock.monotonic()
            self._ceiling_until = now + self._options.host_rest.total_seconds()
            self.add(job)
            return
        self.add(job)
        self._fail_site(unreached)

    def _fail_site(self, unreached: Unreached) -> None:
        """Nobody gets there now: what waits, and who comes, need not try."""
        departed = Departed(
            outcome=unreached.outcome,
            plan=None,
            site=self.site.name,
            dialogue=unreached.dialogue,
        )
        self._street.troubles.site_failed(self.site, self.source, unreached.outcome)
        for waiting in self._jobs.clear():
            self._street.desk.settle(waiting, departed, unreached.host)
