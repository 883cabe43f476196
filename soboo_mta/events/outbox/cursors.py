"""How far each sink has read, and how far it may: no row is passed over.

Rows are read in the order of their ids, and that an id was seen must mean that no lower one
appears any more. SQLite has one writer at a time. On PostgreSQL a transaction may commit
after one that took a later id: see `Horizon`.
"""

from dataclasses import dataclass, field

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from soboo_mta.store.schema import attempt, event, event_cursor

WEBHOOKS = "webhooks"
_BEGUN = 1_000  # ids before the newest: what is being written while a cursor is made


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of each table that counts as read."""

    attempt_id: int
    event_id: int


NOWHERE = Position(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """One sink's place. What happened before `since` (unix ms) is passed over; `lost`
    rows went by retention before they were read."""

    name: str
    position: Position
    since: int
    lost: int


def the_cursor(connection: Connection, name: str) -> Cursor | None:
    """Return a sink's cursor; None where it has read nothing yet."""
    row = connection.execute(_CURSOR, {"this": name}).one_or_none()
    if row is None:
        return None
    position = Position(row.attempt_id, row.event_id)
    return Cursor(name=name, position=position, since=row.since, lost=row.lost)


def lost_rows(connection: Connection) -> int:
    """Return how many rows went before some sink had read them."""
    return int(connection.scalar(select(func.sum(event_cursor.c.lost))) or 0)


def begin(
    connection: Connection, name: str, *, since: int, at: Position | None = None
) -> None:
    """Let a sink hear of what happens from `since` on: now. What it had not read is let go.

    `at` None: a little before the newest row, for those that commit just now may have
    lower ids.
    """
    at = at or _before(newest(connection))
    values: dict[str, object] = {
        "attempt_id": at.attempt_id,
        "event_id": at.event_id,
        "since": since,
    }
    changed = connection.execute(
        update(event_cursor).where(event_cursor.c.name == name).values(values)
    )
    if not changed.rowcount:
        row = values | {"name": name, "lost": 0}
        connection.execute(insert(event_cursor).values(row))


def _before(at: Position) -> Position:
    return Position(max(0, at.attempt_id - _BEGUN), max(0, at.event_id - _BEGUN))


def end(connection: Connection, name: str) -> None:
    """Forget a sink's place: nobody reads for it any more."""
    connection.execute(delete(event_cursor).where(event_cursor.c.name == name))


def advance(connection: Connection, cursor: Cursor, to: Position) -> bool:
    """Move the cursor on; False where it is not where it was: somebody else reads."""
    moved = connection.execute(
        _ADVANCE,
        {
            "this": cursor.name,
            "was_attempt": cursor.position.attempt_id,
            "was_event": cursor.position.event_id,
            "to_attempt": to.attempt_id,
            "to_event": to.event_id,
        },
    )
    return moved.rowcount == 1


def newest(connection: Connection) -> Position:
    """Return the highest ids that can be seen, both at one moment."""
    row = connection.execute(_NEWEST).one()
    return Position(row.attempt_id or 0, row.event_id or 0)


@dataclass(slots=True)
class Horizon:
    """The highest ids of which it is certain that no lower one appears any more.

    PostgreSQL: whoever inserts holds the table's RowExclusiveLock from before the id is
    taken until its rows can be seen. So once everybody who held it when an id was seen has
    let go, all ids up to that one are there or never will be. (The snapshot's xmin is
    almost as good and not quite: an id is taken before the transaction has a number.)
    """

    _safe: Position = NOWHERE
    _seen: Position = NOWHERE
    _writing: frozenset[str] = field(default_factory=frozenset)

    def look(self, connection: Connection) -> Position:
        """Return the horizon as it is now; it moves on from look to look."""
        found = newest(connection)
        if connection.dialect.name != "postgresql":
            return found
        writing = frozenset(connection.scalars(_WRITING))  # after `found`, never before
        if self._writing.isdisjoint(writing):
            self._safe = self._seen
            self._seen, self._writing = found, writing
            if not writing:
                self._safe = found
        return self._safe


_CURSOR = select(event_cursor).where(event_cursor.c.name == bindparam("this"))
_NEWEST = select(
    select(func.max(attempt.c.id)).scalar_subquery().label("attempt_id"),
    select(func.max(event.c.id)).scalar_subquery().label("event_id"),
)
_ADVANCE = (
    update(event_cursor)
    .where(
        event_cursor.c.name == bindparam("this"),
        event_cursor.c.attempt_id == bindparam("was_attempt"),
        event_cursor.c.event_id == bindparam("was_event"),
    )
    .values(attempt_id=bindparam("to_attempt"), event_id=bindparam("to_event"))
)
_WRITING = text("""
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation IN (to_regclass('attempt'), to_regclass('event'))
""")
