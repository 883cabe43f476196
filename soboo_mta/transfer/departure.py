"""One recipient's way out, from due to settled: the story page of this room.

In the order of the code: (1) the form of the message that the hop takes; (2) the lease still
holds; (3) is the recipient suppressed by now, who sends, and its domain's state, no older
than the directory's generation;
(4) the plan, or held, or refused; (5) reverse-path, unsubscribe address and signatures, made
now; (6) the mail transaction on the ready session; (7) the outcome, its next time and its
attempt, settled in one transaction. Nothing leaves without a Plan, and between (3) and MAIL
nothing is awaited.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Protocol

from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import SigningKey
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.state import Plan, Source
from soboo_mta.mail.address import NULL_REVERSE_PATH, ReversePath
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.notify import DsnRequest
from soboo_mta.mail.outcome import Delivered, Failed, Outcome
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import Clock, Session, Transaction
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.classify import INTERNAL, INTERRUPTED
from soboo_mta.transfer.flights import Flight, Flights
from soboo_mta.transfer.leaving.suppression import (
    NoLists,
    SuppressionLists,
    suppressed,
    whose,
)
from soboo_mta.transfer.leaving.unsubscribing import header_of, unsubscribe_field
from soboo_mta.transfer.leaving.variants import Variants
from soboo_mta.transfer.planning import Known, Planner

MAX_SIGNED = 256  # messages to several recipients whose signatures are kept


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
    """How long what identifies a message stays good, and whose dialogues are kept."""

    signature_life: timedelta = timedelta(days=7)  # x= of RFC 6376 §3.5
    return_life: timedelta = timedelta(days=30)  # returns come after the last attempt
    unsubscribe_life: timedelta = timedelta(days=30)  # as long as messages are known
    traced_tenants: frozenset[str] = frozenset()  # of deliveries too
    traced_destinations: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed:
    """What one attempt came to, with the facts of its attempt row."""

    outcome: Outcome
    plan: Plan | None
    tls: str = ""
    duration_ms: int = 0
    site: str = ""  # where it was tried, or would have been
    dialogue: str = ""  # what was said, where it is to be kept
    asked_on: bool = False  # the next hop was told what reports the sender asked for


class Departures:
    """Departs recipients on ready sessions, one after another on each."""

    def __init__(
        self,
        *,
        planner: Planner,
        verp: VerpSigner,
        signer: Signer,
        lease: Lease,
        clock: Clock,
        suppressions: SuppressionLists | None = None,
        options: DepartureOptions | None = None,
    ) -> None:
        self.planner = planner
        self.suppressions = suppressions or NoLists()
        self._verp = verp
        self._signer = signer
        self._lease = lease
        self._clock = clock
        self._options = options or DepartureOptions()
        self._variants = Variants()
        self._signed: dict[tuple[MessageId, bool], _Signed] = {}
        self._flights = Flights(clock)

    async def depart(
        self, session: Session, claimed: Claimed, source: Source, *, epoch: int
    ) -> Departed:
        """Try one recipient, claimed under `epoch`, on a session that is ready; never
        raises for what a peer, DNS or the directory can do. Cancelled, the session is
        closed."""
        message = await self._form_for(session, claimed.message)
        if isinstance(message, Failed):
            return Departed(outcome=message, plan=None)
        if message is not claimed.message:
            claimed = replace(claimed, message=message)
        if not self._is_ours(epoch):
            return _interrupted()
        try:
            because = await self.suppressions.why(*whose(claimed))
            if because:
                return Departed(outcome=suppressed(because), plan=None)
            known = await self.planner.steady(message, source)
        except StoreError:  # not known, or a key gone: never sent on a guess
            return Departed(outcome=INTERNAL, plan=None)
        if known is None:
            return _interrupted()
        if not isinstance(known.departure, Plan):
            return Departed(outcome=known.departure, plan=None)
        flight = self._flights.begin(message, source, known)
        may_finish = partial(self._may_finish, flight, epoch)
        try:
            transaction = self._transaction(claimed, known.departure, known, may_finish)
        except FormatError:  # never sent unsigned
            return Departed(outcome=INTERNAL, plan=known.departure)
        outcome = await self._flights.deliver(session, transaction, flight)
        return Departed(
            outcome=outcome,
            plan=known.departure,
            tls=session.tls,
            duration_ms=int((self._clock.monotonic() - flight.since) * 1_000),
            asked_on=session.offers_dsn,
            dialogue=session.dialogue() if self._is_told(claimed, outcome) else "",
        )

    def _is_told(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Whether what was said is kept: always where it did not deliver."""
        options = self._options
        return (
            not isinstance(outcome, Delivered)
            or claimed.message.tenant in options.traced_tenants
            or claimed.recipient.domain in options.traced_destinations
        )

    # ---- the fences

    def acknowledged_generation(self) -> int:
        """Return the generation before which nothing of ours is still under way.

        What sent its final dot a while ago left in full: only its answer is missing.
        """
        return self._flights.acknowledged_generation(self.planner.generation)

    async def cut_short(self, *, older_than: timedelta) -> None:
        """Interrupt what departs under an outdated generation for longer than that, and
        would depart in another way under this one."""
        for flight in self._flights.outdated(
            self.planner.generation, older_than=older_than
        ):
            known = await self._known_now(flight)
            if known is None or known.departure != flight.known.departure:
                flight.cut()
            else:
                flight.known = known  # the change was about somebody else

    async def _known_now(self, flight: Flight) -> Known | None:
        try:
            return await self.planner.steady(flight.message, flight.source)
        except StoreError:
            return None

    def interrupt_all(self) -> None:
        """Interrupt every departure under way: each becomes Deferred."""
        self._flights.interrupt_all()

    # ---- content

    async def _form_for(
        self, session: Session, message: SpooledMessage
    ) -> SpooledMessage | Failed:
        if not message.eight_bit or session.takes_eight_bit:
            return message
        return await self._variants.seven_bit(message)

    # ---- identity

    def _transaction(
        self,
        claimed: Claimed,
        plan: Plan,
        known: Known,
        may_finish: Callable[[], bool],
    ) -> Transaction:
        message = claimed.message
        own = self._own_field(claimed, plan, known)
        if own:
            top = self._sign(message, plan, known.keys, own) + own
        else:
            top = self._signatures(message, plan, known)
        return Transaction(
            reverse_path=self._reverse_path(claimed, plan),
            recipients=(claimed.recipient,),
            octets=(top, message.content),
            eight_bit=message.eight_bit,
            smtputf8=message.smtputf8,
            dsn=_asked_of(claimed),
            may_finish=may_finish,
        )

    def _reverse_path(self, claimed: Claimed, plan: Plan) -> ReversePath:
        message = claimed.message
        if message.is_report and message.reverse_path.is_null:
            return NULL_REVERSE_PATH  # RFC 3464 §2; RFC 5321 §4.5.5
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

    def _own_field(self, claimed: Claimed, plan: Plan, known: Known) -> bytes:
        """What the header of this recipient's message has besides; b"" for nothing."""
        host = plan.bounce_domain
        if host is None or not known.unsubscribes:
            return b""
        message = claimed.message
        life = self._options.unsubscribe_life // timedelta(milliseconds=1)
        address = partial(
            self._verp.unsubscribe_address,
            message.message_id,
            claimed.position,
            self._clock.unix_ms() + life,
            host,
        )
        return unsubscribe_field(header_of(message.content), address)

    def _signatures(self, message: SpooledMessage, plan: Plan, known: Known) -> bytes:
        """The signature fields, made once for all recipients of a message, its form and
        its plan; anew for a retry that comes when half their life is over."""
        now, form = self._clock.monotonic(), (message.message_id, message.eight_bit)
        kept = self._signed.pop(form, None)
        if kept is None or not kept.fits(known.generation, plan, now):
            life = self._options.signature_life.total_seconds()
            made = self._sign(message, plan, known.keys)
            kept = _Signed(known.generation, plan, now + life / 2, made)
        if len(message.recipients) > 1:
            if len(self._signed) >= MAX_SIGNED:
                del self._signed[next(iter(self._signed))]
            self._signed[form] = kept
        return kept.fields

    def _sign(
        self,
        message: SpooledMessage,
        plan: Plan,
        keys: tuple[SigningKey, ...],
        own: bytes = b"",
    ) -> bytes:
        """`own` are fields that stand before the message's."""
        header = header_of(message.content)
        if own:
            header = HeaderBlock.parse(own + header.content)
        unsigned = self._signer.prepare(header, message.body_hash)
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

    def _may_finish(self, flight: Flight, epoch: int) -> bool:
        """Whether the final dot may be sent; where it may, it is."""
        if not self._is_ours(epoch):
            return False
        flight.sent_at = self._clock.monotonic()
        return True


@dataclass(frozen=True, slots=True)
class _Signed:
    """The signature fields of a message, for its further recipients; `until` when, on
    the monotonic clock."""

    generation: int
    plan: Plan
    until: float
    fields: bytes

    def fits(self, generation: int, plan: Plan, now: float) -> bool:
        is_same = self.generation == generation and self.plan is plan
        return is_same and now < self.until


def _asked_of(claimed: Claimed) -> DsnRequest | None:
    """What was asked of this one recipient's message."""
    request = claimed.message.dsn
    if request is None or len(request.asked) == 1:
        return request
    return replace(request, asked=(request.asked[claimed.position],))


def _interrupted() -> Departed:
    return Departed(outcome=INTERRUPTED, plan=None)
