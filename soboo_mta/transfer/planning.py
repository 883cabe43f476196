"""Who sends a message and under which plan, as of one generation of the directory.

Fetches a tenant, its domain's state and its keys, and lets `identity.depart` decide: for a
report, by the state of the operator's own domain. What it decided is cached while the
facts are the very same. Never sends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import is_ as _is
from typing import Protocol

from soboo_mta.formats.keys import SigningKey
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
from soboo_mta.mail.ids import OPERATOR, DomainId, KeyId, Stream, TenantId
from soboo_mta.mail.outcome import Deferred, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import Clock

MAX_PLANS = 20_000  # cached plans: one per (domain, source)
_STEADY_LOOKS = 5  # looks at a directory that keeps changing before giving way


class Tenant(Protocol):
    """What departure asks of a tenant."""

    @property
    def suspended(self) -> bool: ...

    @property
    def weight(self) -> int: ...

    @property
    def pool(self) -> str | None:
        """The pool of egress sources that it chose; None: the default one."""
        ...

    def offers_unsubscribing(self, stream: Stream) -> bool:
        """Whether mail of the stream has an address of ours to leave it by."""
        ...


class Identities(Protocol):
    """Who may send and sign, cached (tenancy.Directory)."""

    @property
    def generation(self) -> int:
        """Rises with whatever changes who may send or sign."""
        ...

    async def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    async def domain_by_id(self, domain_id: DomainId) -> DomainState | None: ...

    async def signing_key(self, key_id: KeyId) -> SigningKey: ...


class OwnDomain(Protocol):
    """What DNS shows of the operator's own domain (onboarding.check.OwnDomainCheck)."""

    async def state(self, operator: Operator) -> DomainState:
        """Return its state as a sending domain, looked at lately."""
        ...


_Way = Plan | Held | Failed | Deferred


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a message's identity as of `generation`; `unsubscribes`: its tenant
    wants an address in it by which its recipient leaves the stream."""

    generation: int
    departure: _Way
    keys: tuple[SigningKey, ...]
    unsubscribes: bool = False


class Planner:
    """Plans for the messages of one process."""

    def __init__(
        self,
        *,
        identities: Identities,
        operator: Callable[[], tuple[Operator, Facts | None]],
        clock: Clock,
        own_domain: OwnDomain | None = None,
    ) -> None:
        """`own_domain` None: the operator sends no mail of its own."""
        self._own_domain = own_domain
        self._identities = identities
        self._operator = operator
        self._clock = clock
        self._plans: dict[tuple[DomainId, str], _Cached] = {}
        self._seen: dict[TenantId, _Seen] = {}

    @property
    def generation(self) -> int:
        return self._identities.generation

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
        seen = self._seen.get(tenant)
        return 1 if seen is None else seen.weight

    def chosen_pool(self, tenant: TenantId) -> str | None:
        """The tenant's pool as last seen; None until then."""
        seen = self._seen.get(tenant)
        return None if seen is None else seen.pool

    def knows(self, tenant: TenantId) -> bool:
        """Whether the tenant was seen as of the directory's generation."""
        seen = self._seen.get(tenant)
        return seen is not None and seen.generation == self._identities.generation

    async def look(self, tenant: TenantId) -> None:
        """See the tenant as it is now; may raise StoreError."""
        self._note(tenant, await self._identities.tenant(tenant))

    async def steady(self, message: SpooledMessage, source: Source) -> Known | None:
        """Return the plan and its keys as of one generation; None: it keeps changing."""
        for _ in range(_STEADY_LOOKS):
            generation = self._identities.generation
            tenant = await self._identities.tenant(message.tenant)
            unsubscribes = False
            if message.is_report:
                may_send = message.tenant == OPERATOR or _may_send(tenant)
                departure = await self._own_departure(source, may_send=may_send)
            else:
                state = await self._identities.domain_by_id(message.domain_id)
                departure = self._departure(message, tenant, state, source)
                if tenant is not None:
                    unsubscribes = tenant.offers_unsubscribing(message.stream)
            keys = await self._keys(departure)
            if self._identities.generation == generation:
                return Known(generation, departure, keys, unsubscribes)
        return None

    def _departure(
        self,
        message: SpooledMessage,
        tenant: Tenant | None,
        state: DomainState | None,
        source: Source,
    ) -> _Way:
        if not _may_send(tenant):
            return _SUSPENDED
        self._note(message.tenant, tenant)
        if state is None or not _belongs(message, state):
            return _GONE
        if is_outdated(state, self._clock.unix_ms()):
            return _OUTDATED
        return self._planned(message.domain_id, state, source, self._operator())

    async def _own_departure(self, source: Source, *, may_send: bool) -> _Way:
        """How a report leaves: signed by the operator, or later. SPF cannot carry it: a
        null reverse-path has no domain of its own (RFC 7208 §2.4)."""
        if not may_send:
            return _SUSPENDED
        operator, _ = self._operator()
        if self._own_domain is None or not operator.keys:
            return _unsigned("the operator has no keys: soboo-mta key operator")
        state = await self._own_domain.state(operator)
        if is_outdated(state, self._clock.unix_ms()):
            return _unsigned(f"the DNS of {operator.domain} gives no answer")
        way = self._planned(_OWN, state, source, (operator, None))
        match way:
            case Plan(signatures=()):
                return _unsigned(f"no usable DKIM key for {operator.domain}")
            case Held(explanation=explanation):
                return _unsigned(explanation)
            case _:
                return way

    def _planned(
        self,
        domain_id: DomainId,
        state: DomainState,
        source: Source,
        ours: tuple[Operator, Facts | None],
    ) -> _Way:
        generation = self._identities.generation
        operator, operator_facts = ours
        basis = (state, operator, operator_facts)
        place = (domain_id, source.name)
        cached = self._plans.get(place)
        if cached is None or not all(map(_is, cached.basis, basis)):
            way = checked(depart(state, source, operator, operator_facts), state)
            cached = _Cached(basis=basis, departure=way, generation=generation)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[place] = cached
        cached.generation = generation
        return cached.departure

    def _note(self, tenant_id: TenantId, tenant: Tenant | None) -> None:
        if len(self._seen) >= MAX_PLANS:
            self._seen.clear()
        self._seen[tenant_id] = _Seen(
            generation=self._identities.generation,
            weight=1 if tenant is None else max(1, tenant.weight),
            pool=None if tenant is None else tenant.pool,
        )

    async def _keys(self, departure: _Way) -> tuple[SigningKey, ...]:
        if not isinstance(departure, Plan):
            return ()
        signing_key = self._identities.signing_key
        return tuple([await signing_key(s.key_id) for s in departure.signatures])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A tenant as of a generation."""

    generation: int
    weight: int
    pool: str | None


@dataclass(slots=True)
class _Cached:
    """A departure and what it was made from; compared by identity, which is cheap."""

    basis: tuple[DomainState, Operator, Facts | None]
    departure: Plan | Held | Failed
    generation: int  # the latest under which it was found to be valid


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


def _may_send(tenant: Tenant | None) -> bool:
    return tenant is not None and not tenant.suspended


def _belongs(message: SpooledMessage, state: DomainState) -> bool:
    settings = state.settings
    return settings.tenant == message.tenant and settings.name == message.author.domain


def _unsigned(why: str) -> Deferred:
    """A report waits for its signature: aligned or not sent holds for ours too."""
    return Deferred(
        reply=reply(451, "4.7.5", why),
        reason=Reason.DOMAIN_BROKEN,
        scope=Scope.MESSAGE,
    )


_OWN = DomainId(0)  # the operator's own domain, among the plans
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
