"""Returns as people look at them: one, some, and how many of each kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    func,
    select,
)
from sqlalchemy import delete as deleting

from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.returned.claiming import content_of
from soboo_mta.spool.returned.forwarding import sweep_forwards
from soboo_mta.store.schema import returned, returned_piece
from soboo_mta.store.writer import Writer

_SWEPT_AT_ONCE = 100
_SWEPT_OCTETS = 1 << 20
_STAGED_FOR_MS = 3_600_000  # a return that is still coming in by then never will


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReturn:
    """One return; `kind` None: not read yet. Times are unix milliseconds."""

    returned_id: int
    received_at: int
    settled_at: int | None
    door: str
    address: str
    message_id: MessageId | None
    position: int | None
    tenant: str | None
    reverse_path: str
    client: str
    client_name: str
    protocol: str
    kind: str | None
    bounce_class: str | None
    authentication: str | None
    detail: str | None  # JSON
    reads: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnFilter:
    """Which returns; what is None asks nothing. `before` an id, `since` unix ms."""

    tenant: str | None = None
    kind: str | None = None
    bounce_class: str | None = None
    door: str | None = None
    message_id: MessageId | None = None
    is_unread: bool = False
    since: int | None = None
    before: int | None = None


def list_returns(
    connection: Connection, wanted: ReturnFilter, *, limit: int
) -> tuple[KeptReturn, ...]:
    """Return the newest first."""
    query = select(*_COLUMNS).where(and_(True, *_terms(wanted)))
    rows = connection.execute(query.order_by(returned.c.id.desc()).limit(limit))
    return tuple(map(_kept, rows))


def count_returns(
    connection: Connection, wanted: ReturnFilter
) -> dict[tuple[str | None, str | None], int]:
    """Return how many there are by kind and class; kind None: not read yet."""
    query = (
        select(returned.c.kind, returned.c.bounce_class, func.count())
        .where(and_(True, *_terms(wanted)))
        .group_by(returned.c.kind, returned.c.bounce_class)
    )
    return {
        (kind, bounce_class): number
        for kind, bounce_class, number in connection.execute(query)
    }


def the_return(connection: Connection, returned_id: int) -> KeptReturn | None:
    """Return one; None where there is none of that number."""
    query = select(*_COLUMNS).where(returned.c.id == returned_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _kept(row)


def content(connection: Connection, returned_id: int) -> bytes | None:
    """Return the octets of one as they came; None where it is gone."""
    return content_of(connection, [returned_id]).get(returned_id)


async def sweep_returned(writer: Writer, *, keep: timedelta, now: int) -> int:
    """Delete what was received longer ago than `keep` and read, in small transactions;
    return the rows."""
    before = now - keep // timedelta(milliseconds=1)
    total = 0
    while gone := await writer.transact(
        lambda at: sweep_returns(at, before=before, now=now)
    ):
        total += gone
    while gone := await writer.transact(lambda at: sweep_forwards(at, before=before)):
        total += gone
    return total


def sweep_returns(connection: Connection, *, before: int, now: int) -> int:
    """Delete one transaction's worth of what was received before `before`, and of what
    never came in whole; return the rows, 0 when done (unix ms)."""
    terms = and_(returned.c.received_at < before, returned.c.due_at.is_(None))
    half = and_(
        returned.c.due_at.is_(None),
        returned.c.settled_at.is_(None),
        returned.c.received_at < now - _STAGED_FOR_MS,
    )
    found: list[int] = []
    octets = 0
    query = select(returned.c.id, returned.c.size).where(terms | half)
    for row in connection.execute(query.limit(_SWEPT_AT_ONCE)):
        octets += row.size
        if found and octets > _SWEPT_OCTETS:
            break
        found.append(row.id)
    if not found:
        return 0
    this = {"ids": found}
    gone = connection.execute(_DROP_PIECES, this).rowcount
    return gone + connection.execute(_DROP, this).rowcount


def _terms(wanted: ReturnFilter) -> Iterator[ColumnElement[bool]]:
    equal = {
        returned.c.tenant_id: wanted.tenant,
        returned.c.kind: wanted.kind,
        returned.c.bounce_class: wanted.bounce_class,
        returned.c.door: wanted.door,
        returned.c.message_id: wanted.message_id,
    }
    for column, value in equal.items():
        if value is not None:
            yield column == value
    if wanted.is_unread:
        yield returned.c.due_at.is_not(None)
    if wanted.since is not None:
        yield returned.c.received_at >= wanted.since
    if wanted.before is not None:
        yield returned.c.id < wanted.before


def _kept(row: Row[tuple[object, ...]]) -> KeptReturn:
    return KeptReturn(
        returned_id=row.id,
        received_at=row.received_at,
        settled_at=row.settled_at,
        door=row.door,
        address=row.address,
        message_id=None if row.message_id is None else MessageId(row.message_id),
        position=row.position,
        tenant=row.tenant_id,
        reverse_path=row.reverse_path,
        client=row.client,
        client_name=row.client_name,
        protocol=row.protocol,
        kind=row.kind,
        bounce_class=row.bounce_class,
        authentication=row.authentication,
        detail=row.detail,
        reads=row.reads,
        size=row.size,
    )


_COLUMNS = [column for column in returned.c if column.name != "content"]
_ids: BindParameter[int] = bindparam("ids", expanding=True)
_DROP_PIECES = deleting(returned_piece).where(returned_piece.c.returned_id.in_(_ids))
_DROP = deleting(returned).where(returned.c.id.in_(_ids))
