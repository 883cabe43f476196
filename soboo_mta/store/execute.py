"""Runs units of statements on the driver's own cursor; says what a driver's error means.

Clauses are built and compiled by SQLAlchemy Core, once; each run is then one call of the
driver. Going through `Connection.execute` costs more than the database does.
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Connection,
    Dialect,
    Executable,
    Insert,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from soboo_mta.store.unit import (
    Fenced,
    Statement,
    Step,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Unit,
)

Row = Mapping[str, object]
_MAX_FORMS = (
    1_000  # clauses are built at import: more means that somebody builds them anew
)
_SQL_FULL = frozenset({"53100", "53200"})  # PostgreSQL: disk full, out of memory
_SQL_GONE = frozenset(
    {"08", "53", "57", "58", "XX"}
)  # classes: the server's own trouble
_SQL_AGAIN = frozenset(
    {"40"}
)  # class: deadlock or serialisation; alone it will succeed
_SQLITE_FULL = 13
_SQLITE_NO_ROOM = 4874  # SQLITE_IOERR_SHMSIZE: its shared memory cannot grow
_SQLITE_GUILTY = frozenset({1, 12, 18, 19, 20, 25})  # the statement's own fault


@dataclass(slots=True)
class Batch:
    """Rows of one clause, of one or several units, in order."""

    clause: Executable
    rows: list[Row]
    expected: int | None


def merged(units: Iterable[Unit]) -> list[Batch]:
    """Return the statements of all units with equal clauses put together.

    The order inside each unit is kept; between units there is none.
    """
    batches: list[Batch] = []
    for unit in units:
        place = 0
        for statement in unit:
            if isinstance(statement, Step) or not statement.rows:
                continue
            place = _place(batches, place, statement)
            batch = batches[place]
            batch.rows.extend(statement.rows)
            if statement.expected is not None and batch.expected is not None:
                batch.expected += statement.expected
    return batches


def _place(batches: list[Batch], start: int, statement: Statement) -> int:
    for index in range(start, len(batches)):
        batch = batches[index]
        if batch.clause is statement.clause and (
            (batch.expected is None) == (statement.expected is None)
        ):
            return index
    expected = None if statement.expected is None else 0
    batches.append(Batch(statement.clause, [], expected))
    return len(batches) - 1


class Runner:
    """Executes batches for one dialect; used by one thread."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._forms: dict[tuple[Executable, tuple[str, ...]], _Form] = {}

    def run(self, connection: Connection, batches: Iterable[Batch]) -> None:
        """Execute `batches` inside the connection's transaction.

        Raises Fenced where a batch touched another number of rows than expected, and
        the driver's own errors.
        """
        cursor = connection.connection.cursor()
        try:
            for batch in batches:
                touched = self._run_batch(connection, cursor, batch)
                if batch.expected is not None and touched != batch.expected:
                    raise Fenced(f"{touched} rows instead of {batch.expected}")
        finally:
            cursor.close()

    # The cursor is the driver's, untyped in SQLAlchemy: Any.
    def _run_batch(self, connection: Connection, cursor: Any, batch: Batch) -> int:
        rows = batch.rows
        form = self._form(batch.clause, rows[0])
        if form.is_expanding:
            return sum(
                connection.execute(batch.clause, dict(row)).rowcount for row in rows
            )
        if len(rows) == 1:
            cursor.execute(form.sql, form.values(rows[0]))
        else:
            cursor.executemany(form.sql, [form.values(row) for row in rows])
        return int(cursor.rowcount)

    def _form(self, clause: Executable, row: Row) -> "_Form":
        key = (clause, tuple(row))
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _MAX_FORMS:
                self._forms.clear()
            form = self._forms[key] = _Form(clause, list(row), self._dialect)
        return form


class _Form:
    """One compiled clause: its text, and how a row becomes the driver's parameters."""

    __slots__ = ("_constants", "_names", "_pick", "is_expanding", "sql")

    def __init__(self, clause: Executable, keys: list[str], dialect: Dialect) -> None:
        if not isinstance(clause, ClauseElement):
            raise StoreError(f"{clause!r} is not a SQL clause")
        compiled = clause.compile(
            dialect=dialect, column_keys=keys if isinstance(clause, Insert) else None
        )
        if not isinstance(compiled, SQLCompiler):
            raise StoreError(f"{clause!r} takes no parameters")
        self.sql = compiled.string
        self.is_expanding = bool(compiled.post_compile_params)  # IN over a list
        self._names = tuple(compiled.positiontup or ())
        given = frozenset(keys)
        self._constants = {
            bind.key: bind.effective_value
            for name, bind in compiled.binds.items()
            if name not in given
        }
        self._pick = itemgetter(*self._names) if len(self._names) > 1 else None

    def values(self, row: Row) -> tuple[object, ...]:
        known = {**self._constants, **row} if self._constants else row
        if self._pick is not None:
            return tuple(self._pick(known))
        return tuple(known[name] for name in self._names)


def is_guilty(error: Exception) -> bool:
    """Whether `error` is about what one unit asked, so that others may succeed alone."""
    if isinstance(error, (Fenced, OverflowError, UnicodeError)):
        return True  # a value that the driver can't hand over
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        return is_guilty(error.orig)
    state = getattr(error, "sqlstate", None)
    if state is None and _is_data_error(error):
        return True  # the client's own, before anything was sent: NUL in a text, say
    if state is not None:
        return state[:2] not in _SQL_GONE or state in _SQL_FULL
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_GUILTY or code & 0xFF == _SQLITE_FULL
    return False


def _is_data_error(error: Exception) -> bool:
    """By the name that PEP 249 gives it: a driver costs start-up time where it is not
    the one in use."""
    return any(kind.__name__ == "DataError" for kind in type(error).__mro__)


def explained(error: Exception) -> StoreError:
    """Return what a driver's or SQLAlchemy's error means to a room, cause kept."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        return explained(error.orig)
    state = getattr(error, "sqlstate", None)
    code = getattr(error, "sqlite_errorcode", None)
    no_space = isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
    )
    kind: type[StoreError] = StoreUnavailable
    if (
        state in _SQL_FULL
        or (code is not None and code & 0xFF == _SQLITE_FULL)
        or code == _SQLITE_NO_ROOM
        or no_space
    ):
        kind = StoreFull
    elif is_guilty(error) and (state or "")[:2] not in _SQL_AGAIN:
        kind = StoreError
    failure = kind(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
