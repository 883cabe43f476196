"""What is due, and taking it under a lease: fair over tenants, blind to closed gates.

Finding and taking are apart: where one writer excludes all others (SQLite) the search,
which may pass over a long backlog, runs on a snapshot beside it. Each sending domain is a
lane of the queue's index; tenants share the batch evenly and their lanes share the tenant's
part. Rows of dead leases return to due first.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)

from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.one import THIS
from soboo_mta.store.schema import ACTIVE, WAITING, gate, message, recipient, worker

_GOLDEN = 0.6180339887498949  # multiples of it, less their whole parts, spread evenly
_ORPHANS_AT_ONCE = 500  # rows: one claim does not become a long transaction


@dataclass(frozen=True, slots=True)
class Lane:
    """One sending domain with mail due, and whose it is."""

    tenant: str
    domain_id: int


def due_lanes(connection: Connection, now: int) -> list[Lane]:
    """Return the lanes with something due and no closed gate."""
    rows = connection.execute(_LANES, {"now": now})
    return [Lane(row.tenant_id, row.domain_id) for row in rows]


def in_turn(lanes: Sequence[Lane], turn: int) -> list[Lane]:
    """Return `lanes` with each tenant's begun elsewhere at each `turn`: else those of a
    tenant with many would wait for ever behind its first ones."""
    tenants: dict[str, list[Lane]] = {}
    for lane in lanes:
        tenants.setdefault(lane.tenant, []).append(lane)
    share = turn * _GOLDEN % 1.0
    begun = ((own, int(len(own) * share)) for own in tenants.values())
    return [lane for own, start in begun for lane in own[start:] + own[:start]]


def orphans_exist(connection: Connection) -> bool:
    """Whether a buried lease still has claims."""
    return connection.execute(_ORPHANS.limit(1)).first() is not None


def take_over(connection: Connection, now: int) -> int:
    """Make claims of buried leases due again; return how many (bounded per call)."""
    found = connection.execute(
        _ORPHANS.limit(_ORPHANS_AT_ONCE).with_for_update(of=recipient, skip_locked=True)
    ).all()
    if found:
        connection.execute(
            _REQUEUE,
            [{"this": row.message_id, "at": row.position, "now": now} for row in found],
        )
    return len(found)


@dataclass(frozen=True, slots=True)
class Selected:
    """One recipient row that was claimed; `size` in octets of its message."""

    message_id: int
    position: int
    attempts: int
    tenant: str
    size: int
    is_warned: bool
    had_turn: bool
    waited_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What a claim leaves alone, for want of room where it would go."""

    domains: Set[str] = frozenset()  # destination domains, whoever's mail it is
    tenants: Set[str] = frozenset()
    of_tenant: Mapping[str, Set[str]] = field(
        default_factory=dict
    )  # destinations, each

    def of(self, tenant: str) -> Set[str]:
        """Return the destination domains that mail of `tenant` is not claimed for."""
        return self.domains | self.of_tenant.get(tenant, frozenset())


LEAVING_NOTHING = Leaving()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The bounds of one claim."""

    recipients: int
    octets: int  # of content; the first message may be over it
    leaving: Leaving


def find_due(
    connection: Connection, lanes: Sequence[Lane], wanted: Wanted, *, now: int
) -> list[Selected]:
    """Return rows of `lanes`, which are in the order of turns, that `take` may claim.

    In a transaction that writes, PostgreSQL locks them and passes over those that others
    have locked.
    """
    lanes = [lane for lane in lanes if lane.tenant not in wanted.leaving.tenants]
    return _within(wanted.octets, _chosen(connection, lanes, wanted, now))


def take(
    connection: Connection, found: list[Selected], *, holder: tuple[int, int]
) -> list[Selected]:
    """Claim those of `found` that still wait for `holder` (worker number, epoch), in a
    write transaction; return them."""
    if not found:
        return []
    number, epoch = holder
    rows = [{**_key(row), "number": number, "under": epoch} for row in found]
    taken = connection.execute(_CLAIM, rows).rowcount
    if taken == len(found):
        return found
    mine = connection.execute(_MINE, {"number": number, "under": epoch}).all()
    own = {(row.message_id, row.position) for row in mine}
    return [row for row in found if (row.message_id, row.position) in own]


def _chosen(
    connection: Connection, lanes: Sequence[Lane], wanted: Wanted, now: int
) -> list[Selected]:
    """Fill the batch in rounds: what one tenant does not use goes to the others."""
    left = wanted.recipients
    open_lanes = _by_tenant(lanes)
    taken: dict[int, list[Selected]] = {}
    while left > 0 and open_lanes:
        share = max(1, left // len(open_lanes))
        for tenant in list(open_lanes):
            part = min(share, left)
            if part <= 0:
                break
            search = _Search(connection, now, wanted.leaving.of(tenant), taken)
            got = _from_tenant(search, open_lanes[tenant], part)
            left -= got
            if got < part:
                del open_lanes[tenant]
    return _interleaved(taken.values())


@dataclass(frozen=True, slots=True)
class _Search:
    """One tenant's: what it passes over, and what was taken of each lane so far."""

    connection: Connection
    now: int
    without: Set[str]
    taken: dict[int, list[Selected]]


def _from_tenant(search: _Search, lanes: list[int], part: int) -> int:
    """Take up to `part` rows of one tenant, evenly over its lanes; drop empty lanes."""
    got = 0
    while got < part and lanes:
        each = max(1, (part - got) // len(lanes))
        for lane in list(lanes):
            if got >= part:
                break
            have = search.taken.setdefault(lane, [])
            rows = _of_lane(search, lane, len(have), min(each, part - got))
            have.extend(rows)
            got += len(rows)
            if len(rows) < min(each, part - got + len(rows)):
                lanes.remove(lane)
    return got


def _of_lane(search: _Search, lane: int, skip: int, limit: int) -> list[Selected]:
    keys = _KEYS.limit(limit).offset(skip)
    if search.without:
        keys = keys.where(recipient.c.domain.not_in(search.without))
    query = _of_keys(keys)
    rows = search.connection.execute(query, {"lane": lane, "now": search.now})
    return [Selected(*row) for row in rows if isinstance(row.message_id, int)]


def _by_tenant(lanes: Iterable[Lane]) -> dict[str, list[int]]:
    tenants: dict[str, list[int]] = {}
    for lane in lanes:
        tenants.setdefault(lane.tenant, []).append(lane.domain_id)
    return tenants


def _interleaved(lanes: Iterable[list[Selected]]) -> list[Selected]:
    columns = [list(rows) for rows in lanes]
    longest = max(map(len, columns), default=0)
    return [
        rows[turn] for turn in range(longest) for rows in columns if turn < len(rows)
    ]


def _within(octets: int, rows: list[Selected]) -> list[Selected]:
    """Cut `rows` where their messages together pass `octets`; keep one at least."""
    seen: set[int] = set()
    total = 0
    for index, row in enumerate(rows):
        if row.message_id not in seen:
            seen.add(row.message_id)
            total += row.size
            if total > octets and index > 0:
                return rows[:index]
    return rows


def _key(row: Selected) -> dict[str, int]:
    return {"this": row.message_id, "at": row.position}


def _lanes() -> Any:
    """A loose index scan: one seek a lane however many rows wait in it."""
    first = select(func.min(recipient.c.domain_id).label("domain_id")).where(WAITING)
    lane = first.cte("lane", recursive=True)
    following = (
        select(func.min(recipient.c.domain_id))
        .where(WAITING, recipient.c.domain_id > lane.c.domain_id)
        .scalar_subquery()
    )
    lane = lane.union_all(select(following).where(lane.c.domain_id.is_not(None)))
    inside = and_(WAITING, recipient.c.domain_id == lane.c.domain_id)
    tenant = select(recipient.c.tenant_id).where(inside).limit(1).scalar_subquery()
    due_at = select(func.min(recipient.c.due_at)).where(inside).scalar_subquery()
    known = select(
        lane.c.domain_id, tenant.label("tenant_id"), due_at.label("due_at")
    ).subquery("known")
    closed = or_(
        and_(gate.c.scope == "domain", gate.c.subject == cast(known.c.domain_id, Text)),
        and_(
            gate.c.scope == "tenant",
            gate.c.subject == known.c.tenant_id,
            # what the tenant is told goes on: it is no mail of the tenant's
            or_(gate.c.reason != Reason.COMPLAINTS.value, known.c.domain_id > 0),
        ),
    )
    return select(known.c.domain_id, known.c.tenant_id).where(
        known.c.due_at <= bindparam("now"), ~exists().where(closed)
    )


_LANES = _lanes()
_KEYS = (  # of the index alone, where SQLite passes over a long backlog
    select(recipient.c.message_id, recipient.c.position)
    .where(
        WAITING,
        recipient.c.domain_id == bindparam("lane"),
        recipient.c.due_at <= bindparam("now"),
    )
    .order_by(recipient.c.due_at)
    .with_for_update(of=recipient, skip_locked=True)
)
_IN_LINE = recipient.c.reason == Reason.SLOWED.value
_END = func.coalesce(message.c.expires_at, 0)  # due exactly then: no turn came before


def _of_keys(keys: Any) -> Any:
    key = keys.cte("key")
    return (
        select(
            recipient.c.message_id,
            recipient.c.position,
            cast(recipient.c.attempts, Integer),  # a damaged row stops no other
            recipient.c.tenant_id,
            cast(func.coalesce(message.c.size, 0), Integer),
            recipient.c.warned_at.is_not(None),
            and_(_IN_LINE, recipient.c.due_at != _END),
            and_(_IN_LINE, recipient.c.due_at == _END),
        )
        .select_from(key)
        .join(
            recipient,
            and_(
                recipient.c.message_id == key.c.message_id,
                recipient.c.position == key.c.position,
            ),
        )
        .join(message, message.c.id == recipient.c.message_id, isouter=True)
        .order_by(recipient.c.due_at)
    )


_ORPHANS = (
    select(recipient.c.message_id, recipient.c.position)
    .select_from(worker)
    .join(
        recipient,
        and_(
            recipient.c.worker == worker.c.number,
            recipient.c.epoch < worker.c.epoch,  # burial and registration raise it
        ),
    )
    .where(ACTIVE)
)
_REQUEUE = (
    update(recipient)
    .where(THIS, ACTIVE)
    .values(
        state=str(RecipientState.QUEUED),
        reason=str(Reason.INTERRUPTED),
        due_at=bindparam("now"),
        worker=None,
        epoch=None,
    )
)
_MINE = select(recipient.c.message_id, recipient.c.position).where(
    ACTIVE,
    recipient.c.worker == bindparam("number"),
    recipient.c.epoch == bindparam("under"),
)
_CLAIM = (
    update(recipient)
    .where(THIS, WAITING)
    .values(
        state=str(RecipientState.ACTIVE),
        worker=bindparam("number"),
        epoch=bindparam("under"),
    )
)
