"""One recipient's way out, from due to settled: the story page of this room.

In the order of the code: (1) the lease still holds; (2) who sends, and its domain's state,
no older than the directory's generation; (3) the plan, or held, or refused; (4) reverse-path
and signatures, made now; (5) the mail transaction on the ready session; (6) the outcome,
its next time and its attempt, settled in one transaction. Nothing leaves without a Plan,
and between (2) and MAIL nothing is awaited.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import is_ as _is
from typing import Protocol

from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import SigningKey
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.plan import depart, is_outdated
from soboo_mta.identity.state import (
    Departure,
    DomainState,
    Facts,
    Hold,
    OnBroken,
    Operator,
    Plan,
    Refuse,
    Source,
    Verdict,
)
from soboo_mta.mail.address import ReversePath
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId, KeyId, MessageId, TenantId
from soboo_mta.mail.outcome import Failed, Held, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import Clock, Session, Transaction
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.classify import INTERNAL, INTERRUPTED

MAX_PLANS = 20_000  # cached plans: one per (domain, source)
_ANSWER_PATIENCE = timedelta(seconds=20)  # a fence waits for the answer to a final dot
MAX_SIGNED = 256  # messages to several recipients whose signatures are kept
_STEADY_LOOKS = 5  # looks at a directory that keeps changing before giving way


class Tenant(Protocol):
    """What departure asks of a tenant."""

    @property
    def suspended(self) -> bool: ...

    @property
    def weight(self) -> int: ...


class Identities(Protocol):
    """Who may send and sign, cached (tenancy.Directory)."""

    @property
    def generation(self) -> int:
        """Rises with whatever changes who may send or sign."""
        ...

    async def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    async def domain_by_id(self, domain_id: DomainId) -> DomainState | None: ...

    async def signing_key(self, key_id: KeyId) -> SigningKey: ...


class Lease(Protocol):
    """This worker's right to its claims (spool.WorkerLease)."""

    @property
    def epoch(self) -> int:
        """Another one once the lease was lost and taken anew."""
        ...

    @property
    def may_start_attempt(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartureOptions:
    """How long what identifies a message stays good."""

    signature_life: timedelta = timedelta(days=7)  # x= of RFC 6376 §3.5
    return_life: timedelta = timedelta(days=30)  # returns come after the last attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed:
    """What one attempt came to, with the facts of its attempt row."""

    outcome: Outcome
    plan: Plan | None
    tls: str = ""
    duration_ms: int = 0


@dataclass(slots=True, eq=False)
class _Flight:
    """A departure under way, made under `generation`; cut short until its final dot is
    sent: after that its answer is heard, or it would arrive twice."""

    generation: int
    since: float
    limit: asyncio.Timeout | None = None
    sent_at: float | None = None
    is_cut: bool = False

    def cut(self) -> None:
        """Interrupt it, whatever was sent."""
        if self.limit is not None and not self.is_cut:
            self.is_cut = True
            self.limit.reschedule(0)


class Departures:
    """Departs recipients on ready sessions, one after another on each."""

    def __init__(
        self,
        *,
        identities: Identities,
        operator: Callable[[], tuple[Operator, Facts | None]],
        verp: VerpSigner,
        signer: Signer,
        lease: Lease,
        clock: Clock,
        options: DepartureOptions | None = None,
    ) -> None:
        self._identities = identities
        self._operator = operator
        self._verp = verp
        self._signer = signer
        self._lease = lease
        self._clock = clock
        self._options = options or DepartureOptions()
        self._plans: dict[tuple[DomainId, str], _Cached] = {}
        self._signed: dict[MessageId, tuple[int, Plan, bytes]] = {}
        self._flights: set[_Flight] = set()
        self._weights: dict[TenantId, int] = {}

    async def depart(
        self, session: Session, claimed: Claimed, source: Source, *, epoch: int
    ) -> Departed:
        """Try one recipient, claimed under `epoch`, on a session that is ready; never
        raises for what a peer, DNS or the directory can do. Cancelled, the session is
        closed."""
        message = claimed.message
        if not self._is_ours(epoch):
            return _interrupted()
        try:
            known = await self._steady(message, source)
        except StoreError:  # not known, or a key gone: never sent on a guess
            return Departed(outcome=INTERNAL, plan=None)
        if known is None:
            return _interrupted()
        if not isinstance(known.departure, Plan):
            return Departed(outcome=known.departure, plan=None)
        started = self._clock.monotonic()
        flight = _Flight(known.generation, started)
        may_finish = partial(self._may_finish, flight, epoch)
        try:
            transaction = self._transaction(claimed, known.departure, known, may_finish)
        except FormatError:  # never sent unsigned
            return Departed(outcome=INTERNAL, plan=known.departure)
        outcome = await self._deliver(session, transaction, flight)
        return Departed(
            outcome=outcome,
            plan=known.departure,
            tls=session.tls,
            duration_ms=int((self._clock.monotonic() - started) * 1_000),
        )

    def standing_hold(self, message: SpooledMessage, source: Source) -> Held | None:
        """Return why the message would be held now, as far as that is known without a
        look-up: what waits behind a gate need not open a connection."""
        cached = self._plans.get((message.domain_id, source.name))
        if cached is None or cached.generation != self._identities.generation:
            return None
        stopped = cached.departure
        return stopped if isinstance(stopped, Held) else None

    def weight(self, tenant: TenantId) -> int:
        """The tenant's weight as last seen; 1 until then."""
        return self._weights.get(tenant, 1)

    @property
    def generation(self) -> int:
        return self._identities.generation

    def acknowledged_generation(self) -> int:
        """Return the generation before which nothing of ours is still under way.

        What sent its final dot a while ago left in full: only its answer is missing.
        """
        current = self._identities.generation
        answered = self._clock.monotonic() - _ANSWER_PATIENCE.total_seconds()
        return min(
            (
                flight.generation
                for flight in self._flights
                if flight.sent_at is None or flight.sent_at > answered
            ),
            default=current,
        )

    def cut_short(self, *, older_than: timedelta) -> None:
        """Interrupt what departs under an outdated generation for longer than that."""
        current = self._identities.generation
        latest = self._clock.monotonic() - older_than.total_seconds()
        for flight in self._flights:
            is_outdated = flight.generation < current and flight.since <= latest
            if is_outdated and flight.sent_at is None:
                flight.cut()

    def interrupt_all(self) -> None:
        """Interrupt every departure under way: each becomes Deferred."""
        for flight in self._flights:
            flight.cut()

    # ---- who sends, and how

    async def _steady(self, message: SpooledMessage, source: Source) -> "_Known | None":
        """Return the plan and its keys as of one generation; None: it keeps changing."""
        for _ in range(_STEADY_LOOKS):
            generation = self._identities.generation
            tenant = await self._identities.tenant(message.tenant)
            state = await self._identities.domain_by_id(message.domain_id)
            departure = self._departure(message, tenant, state, source)
            keys = await self._keys(departure)
            if self._identities.generation == generation:
                return _Known(generation, departure, keys)
        return None

    def _departure(
        self,
        message: SpooledMessage,
        tenant: Tenant | None,
        state: DomainState | None,
        source: Source,
    ) -> "Plan | Held | Failed":
        if tenant is None or tenant.suspended:
            return _SUSPENDED
        self._weights[message.tenant] = max(1, tenant.weight)
        if state is None or not _belongs(message, state):
            return _GONE
        if is_outdated(state, self._clock.unix_ms()):
            return _OUTDATED
        generation = self._identities.generation
        operator, operator_facts = self._operator()
        basis = (state, operator, operator_facts)
        place = (message.domain_id, source.name)
        cached = self._plans.get(place)
        if cached is None or not all(map(_is, cached.basis, basis)):
            way = checked(depart(state, source, operator, operator_facts), state)
            cached = _Cached(basis=basis, departure=way, generation=generation)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[place] = cached
        cached.generation = generation
        return cached.departure

    async def _keys(self, departure: "Plan | Held | Failed") -> tuple[SigningKey, ...]:
        if not isinstance(departure, Plan):
            return ()
        signing_key = self._identities.signing_key
        return tuple([await signing_key(s.key_id) for s in departure.signatures])

    # ---- identity

    def _transaction(
        self,
        claimed: Claimed,
        plan: Plan,
        known: "_Known",
        may_finish: Callable[[], bool],
    ) -> Transaction:
        message = claimed.message
        signatures = self._signatures(message, plan, known)
        return Transaction(
            reverse_path=self._reverse_path(claimed, plan),
            recipients=(claimed.recipient,),
            octets=(signatures, message.content),
            eight_bit=message.eight_bit,
            smtputf8=message.smtputf8,
            may_finish=may_finish,
        )

    def _reverse_path(self, claimed: Claimed, plan: Plan) -> ReversePath:
        message = claimed.message
        if plan.bounce_domain is None:
            return ReversePath(message.author)
        life = self._options.return_life // timedelta(milliseconds=1)
        return ReversePath(
            self._verp.address(
                message.message_id,
                claimed.position,
                message.expires_at + life,
                plan.bounce_domain,
            )
        )

    def _signatures(
        self, message: SpooledMessage, plan: Plan, known: "_Known"
    ) -> bytes:
        """The signature fields, made once for all recipients of a message and plan."""
        kept = self._signed.get(message.message_id)
        if kept is not None and kept[0] == known.generation and kept[1] is plan:
            return kept[2]
        made = self._sign(message, plan, known.keys)
        if len(message.recipients) > 1:
            if len(self._signed) >= MAX_SIGNED:
                del self._signed[next(iter(self._signed))]
            self._signed[message.message_id] = (known.generation, plan, made)
        return made

    def _sign(
        self, message: SpooledMessage, plan: Plan, keys: tuple[SigningKey, ...]
    ) -> bytes:
        unsigned = self._signer.prepare(
            HeaderBlock.parse(message.content), message.body_hash
        )
        now = self._clock.unix_ms() // 1_000
        life = int(self._options.signature_life.total_seconds())
        return b"".join(
            [
                unsigned.signature_header(
                    plan=names, key=key, signed_at=now, expires_after=life
                )
                for names, key in zip(plan.signatures, keys, strict=True)
            ]
        )

    # ---- the mail transaction

    def _is_ours(self, epoch: int) -> bool:
        """Whether the claim is: a lease taken anew has none of the old one's claims."""
        return self._lease.epoch == epoch and self._lease.may_start_attempt

    def _may_finish(self, flight: _Flight, epoch: int) -> bool:
        """Whether the final dot may be sent; where it may, it is."""
        if not self._is_ours(epoch):
            return False
        flight.sent_at = self._clock.monotonic()
        return True

    async def _deliver(
        self, session: Session, transaction: Transaction, flight: _Flight
    ) -> Outcome:
        try:
            async with asyncio.timeout(None) as flight.limit:
                self._flights.add(flight)
                try:
                    outcomes = await session.deliver(transaction)
                finally:
                    self._flights.discard(flight)
        except TimeoutError:  # cut short by us; the session closed itself
            return INTERRUPTED
        return outcomes[0]


@dataclass(slots=True)
class _Cached:
    """A departure and what it was made from; compared by identity, which is cheap."""

    basis: tuple[DomainState, Operator, Facts | None]
    departure: Plan | Held | Failed
    generation: int  # the latest under which it was found to be valid


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a message's identity as of `generation`."""

    generation: int
    departure: Plan | Held | Failed
    keys: tuple[SigningKey, ...]


def checked(departure: Departure, state: DomainState) -> Plan | Held | Failed:
    """Return the plan, or the outcome that stands for it; a plan that predicts a failure
    the domain did not ask for is held (promise: aligned or not sent)."""
    match departure:
        case Plan() as plan:
            wanted = state.settings.on_broken is OnBroken.SEND_UNALIGNED
            if plan.verdict is Verdict.FAIL and not wanted:
                return Held(reason=Reason.DOMAIN_BROKEN, explanation=_UNALIGNED)
            return plan
        case Hold(explanation):
            return Held(reason=Reason.DOMAIN_BROKEN, explanation=explanation)
        case Refuse(explanation):
            return Failed(
                reply=reply(550, "5.7.1", explanation),
                reason=Reason.DOMAIN_BROKEN,
                scope=Scope.MESSAGE,
            )


def _belongs(message: SpooledMessage, state: DomainState) -> bool:
    settings = state.settings
    return settings.tenant == message.tenant and settings.name == message.author.domain


def _interrupted() -> Departed:
    return Departed(outcome=INTERRUPTED, plan=None)


_UNALIGNED = "its mail would leave unaligned, and the domain does not ask for that"
_SUSPENDED = Held(
    reason=Reason.TENANT_SUSPENDED, explanation="the tenant is suspended or gone"
)
_OUTDATED = Held(
    reason=Reason.DOMAIN_BROKEN,
    explanation="the domain's DNS records were not looked at for 72 hours: is the control"
    " worker running?",
)
_GONE = Held(
    reason=Reason.DOMAIN_BROKEN,
    explanation="the sending domain is no longer this tenant's",
)
