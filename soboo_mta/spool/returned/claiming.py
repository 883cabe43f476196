"""Claims kept returns for who reads them, and reads their content back.

A claim is the count of `reads` and a time: who was too slow, or died, finds another count
when it settles, and settles nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, select, update

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.returned import Kind
from soboo_mta.store.schema import returned, returned_piece

CLAIMED_AT_ONCE = 64
_BY_ADDRESS = "recipient"  # returns.reception.DoorKind.RECIPIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A return that is this reader's until its time is over; `reads` counts this time."""

    returned_id: int
    reads: int
    received_at: int  # unix ms
    door: str
    address: str
    message_id: MessageId | None
    position: int | None
    reverse_path: str
    client: str
    client_name: str
    size: int


def any_unread(connection: Connection, now: int) -> bool:
    """Whether a return is due: a look that takes no lock."""
    return connection.execute(_ANY, {"now": now}).first() is not None


def claim_unread(connection: Connection, *, now: int, until: int) -> tuple[Unread, ...]:
    """Claim returns that are due, the oldest first, until `until` (unix ms)."""
    rows = connection.execute(_CLAIM, {"now": now, "until": until}).all()
    found = [
        Unread(
            returned_id=row.id,
            reads=row.reads,
            received_at=row.received_at,
            door=row.door,
            address=row.address,
            message_id=None if row.message_id is None else MessageId(row.message_id),
            position=row.position,
            reverse_path=row.reverse_path,
            client=row.client,
            client_name=row.client_name,
            size=row.size,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda one: one.returned_id))


def content_of(connection: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """Return the octets of each by its id; what has gone meanwhile is left out."""
    found: dict[int, bytes] = {}
    for row in connection.execute(_CONTENTS, {"ids": list(ids)}):
        if row.pieces == 0:
            found[row.id] = bytes(row.content)
        else:
            pieces = connection.scalars(_PIECES, {"this": row.id})
            found[row.id] = b"".join(map(bytes, pieces))
    return found


def reopen(
    connection: Connection,
    *,
    now: int,
    returned_id: int | None = None,
    since: int = 0,
) -> tuple[int, ...]:
    """Let returns that nobody recognised be read again; return their ids, one transaction's
    worth, none when done. `returned_id` None: all that were received since then (unix ms).

    What only a claim inside it connected with a message is connected anew: that must not
    look like the address it came to.
    """
    terms = [
        returned.c.kind == Kind.UNRECOGNISED.value,
        returned.c.received_at >= since,
    ]
    if returned_id is not None:
        terms.append(returned.c.id == returned_id)
    some = select(returned.c.id).where(*terms).limit(CLAIMED_AT_ONCE)
    is_by_address = returned.c.door == _BY_ADDRESS
    again = (
        update(returned)
        .where(returned.c.id.in_(some))
        .values(
            due_at=now,
            reads=0,
            kind=None,
            settled_at=None,
            message_id=case((is_by_address, returned.c.message_id)),
            position=case((is_by_address, returned.c.position)),
            tenant_id=None,
        )
        .returning(returned.c.id)
    )
    return tuple(connection.scalars(again))


def within(unread: Sequence[Unread], octets: int) -> Iterator[tuple[Unread, ...]]:
    """Yield them in parts of at most `octets` of content; a larger one alone."""
    part: list[Unread] = []
    held = 0
    for one in unread:
        if part and held + one.size > octets:
            yield tuple(part)
            part, held = [], 0
        part.append(one)
        held += one.size
    if part:
        yield tuple(part)


_ANY = select(returned.c.id).where(returned.c.due_at <= bindparam("now")).limit(1)
_DUE = (
    select(returned.c.id)
    .where(returned.c.due_at <= bindparam("now"))
    .order_by(returned.c.due_at, returned.c.id)
    .limit(CLAIMED_AT_ONCE)
    .with_for_update(skip_locked=True)  # SQLite's writers are one at a time anyway
)
_CLAIM = (
    update(returned)
    .where(returned.c.id.in_(_DUE))
    .values(due_at=bindparam("until"), reads=returned.c.reads + 1)
    .returning(*(column for column in returned.c if column.name != "content"))
)
_CONTENTS = select(returned.c.id, returned.c.pieces, returned.c.content).where(
    returned.c.id.in_(bindparam("ids", expanding=True))
)
_PIECES = (
    select(returned_piece.c.octets)
    .where(returned_piece.c.returned_id == bindparam("this"))
    .order_by(returned_piece.c.number)
)
