"""Standing orders as departures ask for them: is this held or slowed, where does it go.

Pure but for `replace`: what a worker has in memory obeys an order from the next look at the
store on, what comes later does from its first step.
"""

import logging
from collections.abc import Sequence
from typing import assert_never

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.outcome import Held, Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.spool.operator.moves import gate_name
from soboo_mta.spool.operator.orders import (
    HoldScope,
    Reroute,
    Slowed,
    StandingHold,
    StandingOrders,
)
from soboo_mta.transfer.routing.rules import NextHop, RouteTo

_log = logging.getLogger(__name__)


class Orders:
    """The orders that stand, as last read; none until then."""

    def __init__(self) -> None:
        self._known = StandingOrders()
        self._holds: dict[HoldScope, dict[str, StandingHold]] = {}
        self._reroutes: tuple[tuple[Reroute, RouteTo], ...] = ()
        self._slowed: frozenset[Slowed] = frozenset()

    def replace(self, standing: StandingOrders) -> bool:
        """Obey these from now on; whether a hold is gone with it: what was settled as
        held by it meanwhile has to be let go."""
        if standing == self._known:
            return False
        is_gone = bool(set(self._known.holds) - set(standing.holds))
        self._known = standing
        self._holds = {}
        for one in standing.holds:
            self._holds.setdefault(one.scope, {})[one.subject] = one
        ways = ((order, _way(order)) for order in standing.reroutes)
        self._reroutes = tuple((order, way) for order, way in ways if way is not None)
        self._slowed = frozenset(standing.slowed)
        return is_gone

    @property
    def hold_something(self) -> bool:
        """Whether there is any hold to ask for."""
        return bool(self._holds)

    def hold(self, claimed: Claimed, *, source: str, site: str = "") -> Held | None:
        """Return why a recipient must not be tried now. `site` "" is not known yet."""
        for scope, held in self._holds.items():
            for subject in _subjects(scope, claimed, source, site):
                found = held.get(subject)
                if found is not None and _concerns_mail_of(found, claimed):
                    return Held(
                        reason=found.reason,
                        explanation=found.explanation,
                        gate=gate_name(scope.value, subject),
                    )
        return None

    def slowed(self, claimed: Claimed) -> Slowed | None:
        """Return whose turns a recipient needs one of, None where it needs none."""
        message = claimed.message
        if not self._slowed or message.is_report or claimed.had_turn:
            return None
        domain = Slowed(HoldScope.DOMAIN, str(message.domain_id))
        tenant = Slowed(HoldScope.TENANT, message.tenant)
        return next((one for one in (tenant, domain) if one in self._slowed), None)

    def route(self, claimed: Claimed) -> RouteTo | None:
        """Return the next hops that an operator chose for a recipient, if one did."""
        for order, way in self._reroutes:
            if _concerns(order, claimed):
                return way
        return None


def _concerns_mail_of(hold: StandingHold, claimed: Claimed) -> bool:
    """What the tenant is told goes on while its own mail waits for complaints."""
    return hold.reason is not Reason.COMPLAINTS or not claimed.message.is_report


def _subjects(
    scope: HoldScope, claimed: Claimed, source: str, site: str
) -> Sequence[str]:
    """What a recipient is, where a gate of `scope` asks."""
    match scope:
        case HoldScope.TENANT:
            return (claimed.message.tenant,)
        case HoldScope.DOMAIN:
            return (str(claimed.message.domain_id),)
        case HoldScope.DESTINATION:
            return (claimed.recipient.domain,)
        case HoldScope.SOURCE:
            return (source,)
        case HoldScope.SITE:
            return site.split("|")
        case _:
            assert_never(scope)


def _concerns(order: Reroute, claimed: Claimed) -> bool:
    message = claimed.message
    return (
        order.tenant in (None, message.tenant)
        and order.domain_id in (None, message.domain_id)
        and order.destination in (None, claimed.recipient.domain)
        and order.message_id in (None, message.message_id)
        and (
            order.accepted_before is None or message.accepted_at < order.accepted_before
        )
    )


def _way(order: Reroute) -> RouteTo | None:
    try:
        return RouteTo(hops=tuple(map(NextHop.parse, order.next_hops)))
    except FormatError as error:  # parsed before it was stored: the row was damaged
        _log.error("reroute %s is ignored: %s", order.number, error)
        return None
