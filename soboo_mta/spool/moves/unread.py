"""Rows that retention deletes though a sink of events has not read them: counted.

And ids that come again: SQLite gives the highest one plus 1, so that after the last row of
a table went a cursor must stand no higher than what is left, or it would pass over rows.
"""

from collections.abc import Collection

from sqlalchemy import Connection, Table, bindparam, func, select, update

from soboo_mta.store.schema import attempt, event, event_cursor


def note_gone(connection: Connection, table: Table, ids: Collection[int]) -> None:
    """Tell the cursors that these rows of a table are deleted, in that transaction."""
    column = _COLUMNS.get(table.name)
    if column is None:
        return
    places = connection.execute(select(event_cursor.c.name, column.label("read"))).all()
    for place in places:
        unread = sum(one > place.read for one in ids)
        if unread:
            connection.execute(_LOST, {"this": place.name, "more": unread})
    if places and connection.dialect.name == "sqlite":
        top = connection.scalar(select(func.max(table.c.id))) or 0
        connection.execute(
            update(event_cursor).where(column > top).values({column.name: top})
        )


_COLUMNS = {
    attempt.name: event_cursor.c.attempt_id,
    event.name: event_cursor.c.event_id,
}
_LOST = (
    update(event_cursor)
    .where(event_cursor.c.name == bindparam("this"))
    .values(lost=event_cursor.c.lost + bindparam("more"))
)
