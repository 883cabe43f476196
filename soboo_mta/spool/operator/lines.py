"""Lines of mail that leaves slowly: who waits in them, how long they are, and letting go.

A turn that was given out is lost where its recipient does not wait for it any more. Each
call is a small transaction.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select, union_all

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Reason
from soboo_mta.ports import Clock
from soboo_mta.spool.lease import lease_time
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.one import MAKE_DUE_AGAIN
from soboo_mta.spool.operator.moves import PIECE, Moved
from soboo_mta.spool.operator.orders import HoldScope, Slowed, standing_orders
from soboo_mta.store.schema import ACTIVE, WAITING, pace, recipient

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


def hasten(connection: Connection, slowed: Slowed, now: int) -> Moved:
    """Make due some of what waits for its turn, of a tenant or domain that is slowed no
    more, or not so; what is slowed still, by the other, asks for a turn again."""
    whose = recipient.c.tenant_id == slowed.subject
    if slowed.scope is HoldScope.DOMAIN:
        whose = recipient.c.domain_id == int(slowed.subject)
    rows = connection.execute(_SOME.where(whose)).all()
    if rows:
        due = [{"this": row.message_id, "at": row.position, "now": now} for row in rows]
        connection.execute(MAKE_DUE_AGAIN, due)
    return Moved(MessageId(row.message_id) for row in rows)


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
_SOME = (
    select(recipient.c.message_id, recipient.c.position)
    .where(*_IN_LINE)
    .limit(PIECE)
    .with_for_update(of=recipient, skip_locked=True)
)
_FORGET = delete(pace).where(pace.c.site == bindparam("line"))
