"""Opens the store so that a commit that returned survives power loss, or not at all.

SQLite is the embedded default (WAL, `synchronous=FULL`), PostgreSQL the cluster's; a
server that was told to lose commits is refused.
"""

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from soboo_mta.store.unit import StoreError, StoreUnavailable

WRITES = "soboo_writes"  # execution option: begin the transaction as a writer
_PRAGMAS = (
    "page_size=8192",  # measured: half the system calls of 4096 for a 10 KB message
    "journal_mode=WAL",
    "synchronous=FULL",  # the sync of each commit is promise 2
    "busy_timeout=5000",  # ms; others than us may look into the file
    "foreign_keys=ON",
    "wal_autocheckpoint=4000",  # pages: a checkpoint each 16 MB, not each 4
    "journal_size_limit=67108864",
    "cache_size=-16384",  # KiB
)


def default_url(data_directory: Path) -> str:
    """Return the URL of the embedded store in `data_directory`."""
    return f"sqlite:///{data_directory / 'soboo.db'}"


def open_engine(url: str) -> Engine:
    """Return an engine on `url` (`sqlite:///path` or `postgresql://…`), checked.

    Raises StoreError for another kind of database and for a PostgreSQL that does not
    sync its commits; StoreUnavailable when it cannot be reached.
    """
    if url.startswith("sqlite:"):
        return _open_sqlite(url)
    for scheme in ("postgresql://", "postgres://", "postgresql+psycopg://"):
        if url.startswith(scheme):
            return _open_postgresql("postgresql+psycopg://" + url.removeprefix(scheme))
    raise StoreError("the store's URL must begin with sqlite:/// or postgresql://")


def _open_sqlite(url: str) -> Engine:
    path = make_url(url).database
    if not path or path == ":memory:":
        raise StoreError("the store must be a file: mail in memory is lost mail")
    engine = create_engine(url, pool_size=8, max_overflow=0)
    _make_private(path)
    event.listen(engine, "connect", partial(_prepare_sqlite, path))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: str) -> None:
    """Make the file for its owner alone: WAL and shared memory take their mode from it,
    and secrets are inside.

    One that is there is not opened: closing it again would give up the locks of every
    connection that this process has to it (POSIX, fcntl), and another process's
    checkpoint would then destroy the store.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        if not os.path.isfile(path) or not os.access(path, os.R_OK | os.W_OK):
            raise StoreUnavailable(f"cannot open the store at {path}") from None
    except OSError as error:
        raise StoreUnavailable(f"cannot open the store at {path}: {error}") from error


# The driver's connection has no type of its own in SQLAlchemy's events: Any.
def _prepare_sqlite(path: str, connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin by itself
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise StoreUnavailable(
            f"{path} is not a store: it is no SQLite database; see [store] url"
        ) from error


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once where it meets another.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(url: str) -> Engine:
    try:
        engine = create_engine(
            url, pool_size=8, max_overflow=0, pool_pre_ping=True, paramstyle="format"
        )
    except (ArgumentError, ValueError) as error:  # its text may hold the password
        form = "postgresql://user:password@host:port/database"
        raise StoreError(f"the store's URL is not of the form {form}") from error
    try:
        with engine.connect() as connection:
            _refuse_unsynced(connection)
    except DBAPIError as error:
        engine.dispose()
        raise StoreUnavailable(f"cannot reach the store: {error.orig}") from error
    except StoreError:
        engine.dispose()
        raise
    return engine


def _refuse_unsynced(connection: Connection) -> None:
    for name in ("fsync", "synchronous_commit"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off":
            raise StoreError(
                f"PostgreSQL has {name} = off: it would lose accepted mail at a power"
                f" failure; set {name} = on"
            )
