"""A ready queue: what may leave now from one source to one site, and its connections.

Tenants are served by weighted fair queueing, so that none waits for another's backlog.
Connections are opened under leased capacity, slowly until the site has proved itself,
kept while there is work, and each carries one transaction after another. Never decides
what becomes of a recipient: that is told to its `Desk`.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from soboo_mta.identity.state import Source
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Reason, Scope
from soboo_mta.ports import ConnectFailure, HopAddress
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.classify import INTERNAL, INTERRUPTED, Stage, broken
from soboo_mta.transfer.departure import Departed
from soboo_mta.transfer.ready.fair import FairQueue, Job
from soboo_mta.transfer.ready.line import Line, Unreached
from soboo_mta.transfer.ready.street import Street
from soboo_mta.transfer.routing.finder import Site

_log = logging.getLogger(__name__)
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
        self._resting: dict[HopAddress, float] = {}  # broken hosts, until when
        self._lines = 0  # connection tasks
        self._sessions = 0  # of them with a session
        self._share = 0  # of the site's limit, leased
        self._owed = 0  # of it, to other workers: returned when a line ends
        self._ask_from = 0.0  # for more capacity, once some was not granted
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
        self._owed = min(max(surplus, len(self._idlers)), self._share)
        for idler in self._idlers[: self._owed]:
            if not idler.done():
                idler.set_result(None)
        self._staffing.set()
        return self._owed

    def close(self) -> None:
        """Let what is under way finish, then end; what waits is given back."""
        self._is_closing = True
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
            await self._return_share(self._share)

    # ---- how many connections

    def _is_done(self) -> bool:
        return self._lines == 0 and (self._is_closing or not len(self._jobs))

    def _ceiling(self) -> int:
        if self._street.clock.monotonic() < self._ceiling_until:
            return max(1, self._sessions)
        if self._has_delivered:
            return self._options.connections
        return min(self._options.first_connections, self._options.connections)

    async def _staff(self, lines: asyncio.TaskGroup) -> None:
        if self._is_closing:
            return
        await self._pay_back()
        wanted = min(self._lines + len(self._jobs), self._ceiling())
        if wanted > self._share:
            await self._take_share(wanted - self._share)
        for _ in range(min(wanted, self._share - self._owed) - self._lines):
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
            await self._return_share(self._share - self._lines)

    async def _take_share(self, wanted: int) -> None:
        """Ask for what is wanted now; where nobody waits, for as much again at once."""
        now = asyncio.get_running_loop().time()
        if now < self._ask_from:
            return
        limit, place = self._options.connections, (self.site.name, self.source.name)
        wanted = min(wanted, limit - self._share)
        spare = min(max(0, self._share - wanted), limit - self._share - wanted)
        granted = 0
        try:
            granted = await self._street.capacity.take(
                *place, wanted, limit, spare=spare, epoch=self.epoch
            )
        except StoreError as error:  # as if denied: asked again soon
            _log.warning("cannot take capacity yet: %s", error)
        self._share += granted
        if granted < wanted:
            self._ask_from = now + self._options.ask_again.total_seconds()

    async def _pay_back(self) -> None:
        back = min(self._owed, self._share - self._lines)
        self._owed -= max(0, back)
        await self._return_share(back)

    async def _return_share(self, connections: int) -> None:
        if connections <= 0:
            return
        self._share -= connections
        place = (self.site.name, self.source.name)
        try:
            await self._street.capacity.give_back(*place, connections, epoch=self.epoch)
        except StoreError:
            return  # it returns with this worker's lease

    # ---- one connection

    async def _work(self) -> None:
        line = Line()
        try:
            while (job := await self._next()) is not None:
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

    async def _next(self) -> Job | None:
        """The next job, after waiting for one at most the idle time; None: no more."""
        while not (self._is_closing or self._is_owed_a_line()):
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

    def _is_owed_a_line(self) -> bool:
        """Whether a connection has to end so that its share can be returned."""
        return self._owed > self._share - self._lines

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
        outcome = departed.outcome
        if isinstance(outcome, Delivered):
            self._has_delivered = True
            self._street.desk.settle(job, departed, line.host)
            return
        if isinstance(outcome, Deferred) and outcome.scope is Scope.HOST:
            if line.used == 1 and line.hop is not None:  # not a kept one grown stale
                self._rest(line.hop)
            elsewhere = line.used > 1 or self._has_another_host()
            may_try = job.host_tries < MAX_HOST_TRIES and not self._is_closing
            if elsewhere and may_try:
                self.add(replace(job, host_tries=job.host_tries + 1))
                return
        departed = replace(departed, site=self.site.name)
        self._street.desk.settle(job, departed, line.host)

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
        unreached = Unreached(_NO_FAMILY)
        for hop in self._hops():
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
            self._rest(hop)
            if self._is_closing:
                break
        return unreached

    def _hops(self) -> Sequence[HopAddress]:
        """The site's addresses that the source can reach; broken hosts come last."""
        address, now = self.source.address, self._street.clock.monotonic()
        hops = [
            hop
            for hop in self.site.hops(self._street.random)
            if address is None or hop.address.version == address.version
        ]
        hops.sort(key=lambda hop: self._resting.get(hop, 0.0) > now)
        return hops

    def _has_another_host(self) -> bool:
        """Whether a host of the site does not rest: else the same would be asked again."""
        now = self._street.clock.monotonic()
        return any(self._resting.get(hop, 0.0) <= now for hop in self._hops())

    def _rest(self, hop: HopAddress) -> None:
        now = self._street.clock.monotonic()
        self._resting[hop] = now + self._options.host_rest.total_seconds()

    def _unreachable(self, job: Job, unreached: Unreached) -> None:
        """With sessions open the site only wants fewer; else nobody gets there now."""
        street, outcome = self._street, unreached.outcome
        if outcome is INTERRUPTED:
            street.desk.give_back(job)
            return
        if self._sessions:
            now = street.clock.monotonic()
            self._ceiling_until = now + self._options.host_rest.total_seconds()
            self.add(job)
            return
        departed = Departed(
            outcome=outcome,
            plan=None,
            site=self.site.name,
            dialogue=unreached.dialogue,
        )
        street.desk.site_failed(self.site, self.source, outcome)
        for waiting in (job, *self._jobs.clear()):
            street.desk.settle(waiting, departed, unreached.host)


_NO_FAMILY = broken(
    Stage.CONNECT, Reason.CONNECTION, "no host has an address our source can reach"
)
