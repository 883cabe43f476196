"""What was ordered and stands: gates closed by hand or for complaints, mail that leaves
slowly, mail sent elsewhere.

One row each, however much mail they concern. Workers read them again and again, so that an
order holds for what they have in memory and for what comes later too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, insert, select

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import ORDERED, Reason
from soboo_mta.store.schema import complaint_standing, gate, reroute


class HoldScope(StrEnum):
    """What a gate of an operator closes; the value is `gate.scope`."""

    TENANT = "tenant"
    DOMAIN = "domain"  # a sending domain, by its id
    DESTINATION = "destination"  # a recipient's domain
    SITE = "site"  # all domains whose mail a host takes
    SOURCE = "source"  # an egress source


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingHold:
    """One gate that an operator closed, or complaints did."""

    scope: HoldScope
    subject: str
    explanation: str
    since: int = 0  # unix ms
    reason: Reason = Reason.OPERATOR_HOLD


@dataclass(frozen=True, slots=True)
class Slowed:
    """Whose mail leaves slowly: a tenant's, or a sending domain's by its number."""

    scope: HoldScope
    subject: str

    @property
    def line(self) -> str:
        """Where turns are leased for it."""
        return f"slowed {self.scope} {self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reroute:
    """Mail that meets all that is given (None: any) goes to `next_hops`, tried in turn.

    `accepted_before` (unix ms) leaves what came later alone.
    """

    number: int = 0  # given by the store
    tenant: TenantId | None = None
    domain_id: DomainId | None = None
    destination: str | None = None
    message_id: MessageId | None = None
    accepted_before: int | None = None
    next_hops: tuple[str, ...]
    explanation: str
    since: int


@dataclass(frozen=True, slots=True)
class StandingOrders:
    """All that stands now; the latest reroute comes first."""

    holds: tuple[StandingHold, ...] = ()
    reroutes: tuple[Reroute, ...] = ()
    slowed: tuple[Slowed, ...] = ()


def standing_orders(connection: Connection) -> StandingOrders:
    """Return what stands, as the store has it now."""
    return StandingOrders(
        holds=tuple(
            StandingHold(
                scope=HoldScope(row.scope),
                subject=row.subject,
                explanation=row.explanation,
                since=row.since,
                reason=Reason(row.reason),
            )
            for row in connection.execute(_HOLDS)
            if row.scope in _SCOPES  # one of a later release is not ours to read
        ),
        reroutes=reroutes(connection),
        slowed=tuple(
            Slowed(HoldScope(row.scope), row.subject)
            for row in connection.execute(_SLOWED)
        ),
    )


def reroutes(connection: Connection) -> tuple[Reroute, ...]:
    """Return the reroutes, the latest first: it wins where several match."""
    return tuple(
        Reroute(
            number=row.id,
            tenant=None if row.tenant_id is None else TenantId(row.tenant_id),
            domain_id=None if row.domain_id is None else DomainId(row.domain_id),
            destination=row.destination,
            message_id=None if row.message_id is None else MessageId(row.message_id),
            accepted_before=row.accepted_before,
            next_hops=tuple(row.next_hops.split()),
            explanation=row.explanation,
            since=row.since,
        )
        for row in connection.execute(_REROUTES)
    )


def add_reroute(connection: Connection, order: Reroute) -> int:
    """Store a reroute; return its number."""
    done = connection.execute(
        insert(reroute).values(
            tenant_id=order.tenant,
            domain_id=order.domain_id,
            destination=order.destination,
            message_id=None if order.message_id is None else int(order.message_id),
            accepted_before=order.accepted_before,
            next_hops=" ".join(order.next_hops),
            explanation=order.explanation,
            since=order.since,
        )
    )
    key: Sequence[int] = done.inserted_primary_key or ()
    return int(key[0])


def undo_reroute(connection: Connection, number: int) -> bool:
    """Take a reroute back; False where there is none of that number."""
    return connection.execute(_UNDO, {"number": number}).rowcount == 1


_SCOPES = frozenset(map(str, HoldScope))
_HOLDS = (
    select(gate)
    .where(gate.c.reason.in_([reason.value for reason in ORDERED]))
    .order_by(gate.c.since)
)
_SLOWED = (
    select(complaint_standing.c.scope, complaint_standing.c.subject)
    .where(
        complaint_standing.c.level == "slow",  # events.tally.standings.Level.SLOW
        complaint_standing.c.scope.in_(
            [HoldScope.TENANT.value, HoldScope.DOMAIN.value]
        ),
    )
    .order_by(complaint_standing.c.scope, complaint_standing.c.subject)
)
_REROUTES = select(reroute).order_by(reroute.c.id.desc())
_UNDO = delete(reroute).where(reroute.c.id == bindparam("number"))
