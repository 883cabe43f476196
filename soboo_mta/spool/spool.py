"""The spool: accept, claim, settle, hold and sweep, all through the one writer.

A recipient is tried by whoever holds its claim, and a claim is (worker, epoch) of a lease.
Settlements name it, so that one made after the lease was lost does nothing: Fenced.
"""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Held, Outcome, Reason
from soboo_mta.mail.spooled import Claimed, OnceKey, SpooledMessage
from soboo_mta.ports import Clock
from soboo_mta.spool.content import (
    PIECE_OCTETS,
    Corrupt,
    accepting,
    load,
    pieces_of,
    staged,
)
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.claim import (
    LEAVING_NOTHING,
    Lane,
    Leaving,
    Selected,
    Wanted,
    due_lanes,
    find_due,
    in_turn,
    orphans_exist,
    take,
    take_over,
)
from soboo_mta.spool.moves.rounds import SpoolOptions, sweep_for
from soboo_mta.spool.moves.settle import (
    closing,
    giving_back,
    held_until,
    opening,
    settling,
)
from soboo_mta.spool.moves.sweep import set_aside
from soboo_mta.spool.once import Kept, kept_under
from soboo_mta.spool.operator.moves import release_stray
from soboo_mta.spool.view import Gate, gates
from soboo_mta.store.embedded.space import FreeSpace
from soboo_mta.store.unit import Fenced, Statement, StoreFull, StoreUnavailable
from soboo_mta.store.writer import Writer


class Spool:
    """This worker's door to the queue. Every method may raise StoreError."""

    def __init__(
        self,
        *,
        writer: Writer,
        lease: WorkerLease,
        clock: Clock,
        options: SpoolOptions | None = None,
        alarm: Callable[[Corrupt], None] = lambda _corrupt: None,
    ) -> None:
        """`alarm` is told of each message that cannot be read back."""
        self._alarm = alarm
        self._writer = writer
        self._lease = lease
        self._clock = clock
        self._options = options or SpoolOptions()
        self._space = FreeSpace(
            writer.engine, least=self._options.min_free, monotonic=clock.monotonic
        )
        self._last_tenant = ""
        self._turn = 0

    # ---- in

    @property
    def has_room(self) -> bool:
        """Whether there is space to keep mail; false before the disk is full."""
        return not self._space.is_low

    async def accept(
        self, message: SpooledMessage, *, claim: bool, due_at: int | None = None
    ) -> bool:
        """Return once `message` is committed and synced: 250 may be answered.

        With `claim` its recipients are this worker's to try at once, where the lease is
        held: the answer says so. Else they are due for any worker, where `due_at` (unix
        ms) is given not before. Cancelling the caller does not undo a commit under way:
        shield it together with what follows. Fenced: its key (`once`) stands for a
        message already, and nothing was kept. Where it fails and may be there all the
        same, the lease is given up with the claim. Raises StoreFull without `has_room`.
        """
        if not self.has_room:
            raise StoreFull("less space is free than [store] min_free")
        claim = claim and self._lease.may_start_attempt
        pieces = 0
        if message.size > PIECE_OCTETS:
            for octets in pieces_of(message.content):
                at = self._clock.unix_ms()
                piece = staged(message.message_id, pieces, octets, at)
                await self._writer.commit([piece])
                pieces += 1
            claim = claim and self._lease.may_start_attempt
        holder = self._holder
        state = RecipientState.ACTIVE if claim else RecipientState.QUEUED
        unit = accepting(
            message,
            pieces=pieces,
            holder=holder if claim else None,
            state=state,
            due_at=due_at,
        )
        try:
            await self._writer.commit(unit)
        except StoreUnavailable:
            if claim:
                self._lease.give_up()
            raise
        return claim and self._holder == holder  # else another lease than the claim's

    async def kept_under(self, once: OnceKey) -> Kept | None:
        """Return the message that was kept under a client's key; None: it is free."""
        now = self._clock.unix_ms()
        return await self._writer.read(lambda at: kept_under(at, once, now))

    # ---- out

    async def claim_due(
        self, limit: int, *, leaving: Leaving = LEAVING_NOTHING
    ) -> tuple[Claimed, ...]:
        """Claim up to `limit` recipients that are due, fairly over tenants.

        Leaves closed gates and what `leaving` names alone; takes over
        what dead workers had claimed. Empty where the lease is not held. A message that
        cannot be read back is set aside (held, with an event) and not returned. Where it
        raises, claims may stand that nobody knows of: the lease is given up.
        """
        if limit <= 0 or not self._lease.may_start_attempt:
            return ()
        now = self._clock.unix_ms()
        lanes = await self._due(now)
        if not lanes:
            return ()
        wanted = Wanted(
            recipients=limit,
            octets=self._options.claim_octets,
            leaving=leaving,
        )
        holder = self._holder
        find = partial(find_due, lanes=lanes, wanted=wanted, now=now)
        found = await self._writer.read(find) if self._is_exclusive else None

        def claim(connection: Connection) -> list[Selected]:
            if not self._lease.is_alive(connection, *holder):
                return []
            due = find(connection) if found is None else found
            return take(connection, due, holder=holder)

        is_known = False
        try:
            chosen = await self._writer.transact(claim)
            claimed = await self._loaded(chosen, holder)
            is_known = True
        finally:
            if not is_known:
                self._lease.give_up()
        return claimed if self._holder == holder else ()  # as in accept

    def settlement(
        self,
        claimed: Claimed,
        outcome: Outcome,
        *,
        at: int,
        due_at: int | None,
        site: str = "",
    ) -> list[Statement]:
        """Return the unit that settles `claimed` after `outcome` at `at` (unix ms).

        Commit it with the attempt's statement; Fenced means that the claim was lost and
        nothing happened. `due_at` is the next attempt of a Deferred. A Held that a gate
        keeps is due once the gate is open; another Held waits for its release.
        Failed with Reason.LIFETIME is EXPIRED. `site` deferred it: the queue is told apart
        by it.
        """
        if due_at is None:
            due_at = held_until(outcome, at) if isinstance(outcome, Held) else at
        return settling(
            claimed, outcome, holder=self._holder, at=at, due_at=due_at, site=site
        )

    def given_back(
        self, claimed: Claimed, *, reason: Reason, due_at: int
    ) -> list[Statement]:
        """Return the unit that makes `claimed` due again, untried (no attempt counts)."""
        return giving_back(claimed, holder=self._holder, reason=reason, due_at=due_at)

    # ---- gates

    def gate_closed(
        self, scope: str, subject: str, reason: Reason, explanation: str
    ) -> Statement:
        """Return the statement that closes a gate: with the settlement that found why.

        `scope` is "domain" (subject: the sending domain's id) or "tenant" (its id).
        """
        return closing(
            scope,
            subject,
            reason=reason,
            explanation=explanation,
            since=self._clock.unix_ms(),
        )

    async def close_gate(
        self, scope: str, subject: str, reason: Reason, explanation: str
    ) -> None:
        """Hold all mail of a domain or tenant that no worker has claimed: one row."""
        await self._writer.commit(
            [self.gate_closed(scope, subject, reason, explanation)]
        )

    async def open_gate(self, scope: str, subject: str) -> None:
        """Let what waited behind the gate be due; nothing where it is open."""
        await self._writer.commit([opening(scope, subject)])

    async def gates(self) -> tuple[Gate, ...]:
        """Return the closed gates, the oldest first."""
        return await self._writer.read(gates)

    async def sweep(self) -> int:
        """As `sweep_for`, for this worker's own writer."""
        return await sweep_for(self._writer, self._options, now=self._clock.unix_ms())

    async def release_strays(self) -> None:
        """Let go what was held behind an operator's gate after that was opened."""
        now = self._clock.unix_ms()
        while await self._writer.transact(lambda at: release_stray(at, now)):
            continue

    # ----

    @property
    def _is_exclusive(self) -> bool:
        """Whether one writer excludes all others: it must not search for long then."""
        return self._writer.engine.dialect.name == "sqlite"

    @property
    def _holder(self) -> tuple[int, int]:
        return self._lease.number, self._lease.epoch

    async def _due(self, now: int) -> list[Lane]:
        """Return the lanes that have mail due, next tenant's turn first."""
        await self._take_over(now)
        lanes = await self._writer.read(lambda connection: due_lanes(connection, now))
        lanes.sort(key=lambda lane: (lane.tenant <= self._last_tenant, lane.tenant))
        self._turn += 1
        return in_turn(lanes, self._turn)

    async def _take_over(self, now: int) -> None:
        """Make due what dead workers had claimed."""
        if await self._writer.read(self._lease.has_dead):
            await self._writer.transact(self._lease.bury_dead)
        while await self._writer.read(orphans_exist):
            await self._writer.transact(lambda connection: take_over(connection, now))

    async def _loaded(
        self, chosen: Sequence[Selected], holder: tuple[int, int]
    ) -> tuple[Claimed, ...]:
        if not chosen:
            return ()
        self._last_tenant = chosen[-1].tenant
        ids = list(dict.fromkeys(row.message_id for row in chosen))
        found = await self._writer.read(lambda connection: load(connection, ids))
        claimed: list[Claimed] = []
        for row in chosen:
            message = found[row.message_id]
            if isinstance(message, SpooledMessage):
                claimed.append(
                    Claimed(
                        message=message,
                        position=row.position,
                        attempts=row.attempts,
                        is_warned=row.is_warned,
                        had_turn=row.had_turn,
                        waited_out=row.waited_out,
                    )
                )
        for corrupt in found.values():
            if isinstance(corrupt, Corrupt):
                await self._set_aside(corrupt, holder)
        return tuple(claimed)

    async def _set_aside(self, corrupt: Corrupt, holder: tuple[int, int]) -> None:
        now = self._clock.unix_ms()
        await self._writer.commit(set_aside(corrupt, holder=holder, at=now))
        self._alarm(corrupt)


__all__ = ["Fenced", "MessageId", "Spool", "SpoolOptions"]
