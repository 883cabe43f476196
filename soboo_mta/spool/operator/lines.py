"""Lines of mail that leaves slowly: who waits in them, how long they are, and letting go.

A turn that was given out is lost where its recipient does not wait for it any more. Each
call is a small transaction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, union_all

from soboo_mta.mail.outcome import Reason
from soboo_mta.ports import Clock
from soboo_mta.spool.lease import lease_time
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.one import BEGINNING, MAKE_DUE_AGAIN, Place
from soboo_mta.spool.operator.orders import HoldScope, Slowed, standing_orders
from soboo_mta.store.schema import ACTIVE, WAITING, pace, recipient

PLACES: Final = 20_000
"""Looked up at once."""
_FEW: Final = 60  # turns: a line so much longer than it need be is left as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Crooked:
    """Lines that are not as they should be: `over` are of nobody who is slowed, `too_long`
    have far more turns given out than anybody waits for."""

    over: tuple[Slowed, ...]
    too_long: tuple[Slowed, ...]


def crooked(connection: Connection, clock: Clock, *, step: int) -> Crooked:
    """Look over the lines, whose turns are `step` µs apart."""
    slowed = frozenset(standing_orders(connection).slowed)
    ends = {
        row.site: row.next_at for row in connection.execute(_ENDS)
    }  # before _WAITING
    now = lease_time(connection, clock) * 1_000
    waiting, lost = Counter[Slowed](), set[Slowed]()
    for row in connection.execute(_WAITING):
        domain = Slowed(HoldScope.DOMAIN, str(row.domain_id))
        tenant = Slowed(HoldScope.TENANT, row.tenant_id)
        waiting[domain] += row.number
        waiting[tenant] += row.number
        if row.is_slowed and slowed.isdisjoint((domain, tenant)):
            lost.add(domain)
    return Crooked(
        over=tuple(lost),
        too_long=tuple(
            one
            for one in slowed
            if ends.get(one.line, 0) - now > (2 * waiting[one] + _FEW) * step
        ),
    )


def in_line(
    connection: Connection, slowed: Slowed, *, after: Place = BEGINNING
) -> list[Place]:
    """Return some of who waits for a turn, of a tenant's or a domain's mail, in order of
    their places and behind `after`: who asks again meanwhile is not met twice."""
    whose = recipient.c.tenant_id == slowed.subject
    if slowed.scope is HoldScope.DOMAIN:
        whose = recipient.c.domain_id == int(slowed.subject)
    query = _PLACES.where(whose, tuple_(*_KEY) > after).order_by(*_KEY)
    return [(row.message_id, row.position) for row in connection.execute(query)]


def hasten(connection: Connection, places: Sequence[Place], now: int) -> int:
    """Make due those of some places that still wait for a turn, and return how many. Who is
    slowed all the same, by its domain or anew, asks for one again."""
    rows = [{"this": number, "at": position, "now": now} for number, position in places]
    return connection.execute(_MAKE_DUE, rows).rowcount


def forget_line(connection: Connection, slowed: Slowed) -> None:
    """Let the next turn be now: the line begins anew."""
    connection.execute(_FORGET, {"line": slowed.line})


_ENDS = select(pace.c.site, pace.c.next_at).where(pace.c.site.startswith("slowed "))
_IN_LINE = (
    WAITING,
    recipient.c.state == RecipientState.QUEUED.value,
    recipient.c.reason == Reason.SLOWED.value,
)
_place = (recipient.c.tenant_id, recipient.c.domain_id)
_WAITING = (
    union_all(  # what is active may have a turn that its row does not tell of yet
        select(
            *_place, func.count().label("number"), (func.count() > 0).label("is_slowed")
        )
        .where(*_IN_LINE)
        .group_by(*_place),
        select(
            *_place, func.count().label("number"), (func.count() < 0).label("is_slowed")
        )
        .where(ACTIVE)
        .group_by(*_place),
    )
)
_KEY = (recipient.c.message_id, recipient.c.position)
_PLACES = select(*_KEY).where(*_IN_LINE).limit(PLACES)
_MAKE_DUE = MAKE_DUE_AGAIN.where(recipient.c.reason == Reason.SLOWED.value)
_FORGET = delete(pace).where(pace.c.site == bindparam("line"))
