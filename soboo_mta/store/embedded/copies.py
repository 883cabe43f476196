"""Copies of an embedded store: made while a relay runs, put back while none does, checked.

A copy is whole or not there: it is written beside its place, synced, and renamed. PostgreSQL
has its own tools (docs/operations.md).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Engine

from soboo_mta.store.execute import explained
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import HEAD
from soboo_mta.store.unit import StoreError

_MAX_FAULTS = 20  # lines of an integrity check that are shown
_SIDE_FILES = ("-wal", "-shm")


def backup(engine: Engine, target: Path) -> int:
    """Copy the store as it is at one instant to `target`; return the octets.

    Others read and write meanwhile. Raises StoreError; `target` must not exist.
    """
    source = _path(engine)
    if target.exists():
        raise StoreError(f"{target} exists: a backup overwrites nothing")
    if not target.parent.is_dir():
        raise StoreError(
            f"cannot write {target}: there is no directory {target.parent}: make it first"
        )
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _copy(source, unfinished)
        _refuse_broken(unfinished)
        _sync(unfinished)
        unfinished.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):  # said already
            unfinished.unlink(missing_ok=True)
        raise _named(f"cannot copy {source} to {target}", error) from error
    return target.stat().st_size


def refuse_missing(engine: Engine, copy: Path) -> None:
    """Raise StoreError where there is no `copy`, or no place that it could be put."""
    _path(engine)
    if not copy.is_file():
        raise StoreError(f"there is no backup {copy}: nothing was changed")


def restore(engine: Engine, copy: Path, *, kept_as: Path) -> None:
    """Put `copy` in the store's place; the store that was there is kept as `kept_as`.

    Claims of the workers of then are ended, so that their mail is due. Raises StoreError
    where a relay runs, or the copy is broken or of a later release; nothing changed then.
    """
    path = _path(engine)
    fresh = path.with_name(path.name + ".restoring")
    with RelayLock(engine):
        try:
            _refuse_broken(copy)
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            _copy(copy, fresh)
            _end_claims(fresh)
            _sync(fresh)
            _set_aside(path, kept_as)
            fresh.rename(path)
            _sync(path.parent)
        except (OSError, sqlite3.Error) as error:
            raise _named(f"cannot put {copy} in place of {path}", error) from error
        finally:
            fresh.unlink(missing_ok=True)


def faults(path: Path) -> Iterator[str]:
    """Return what is wrong with a store's file, line by line; none where it is whole."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({_MAX_FAULTS})")
            yield from (row[0] for row in rows if row[0] != "ok")
            for table, row_id, parent, _ in connection.execute(
                "PRAGMA foreign_key_check"
            ):
                yield f"row {row_id} of {table} belongs to no row of {parent}"
    except sqlite3.Error as error:
        yield str(error)


def _named(what: str, error: OSError | sqlite3.Error) -> StoreError:
    """What `explained` makes of it, in a sentence that names the files as they were given."""
    said = error.strerror if isinstance(error, OSError) else None
    return type(explained(error))(f"{what}: {said or error}")


def _path(engine: Engine) -> Path:
    if engine.dialect.name != "sqlite" or not engine.url.database:
        raise StoreError(
            "a PostgreSQL store is copied by pg_dump and put back by pg_restore:"
            " see `Back up, restore, check, upgrade` in docs/operations.md"
        )
    return Path(engine.url.database)


def _copy(source: Path, target: Path) -> None:
    """One step of SQLite's online backup: a snapshot, which blocks no writer in WAL."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as one,
        closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)
        other.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself


def _refuse_broken(path: Path) -> None:
    if not path.exists():
        raise StoreError(f"{path} is not there")
    found = list(faults(path))
    if found:
        raise StoreError(f"{path} is no whole copy of a store: {found[0]}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute(
                "SELECT version_num FROM alembic_version"
            ).fetchone()
        except sqlite3.OperationalError as error:
            raise StoreError(f"{path} is not a store of soboo-mta") from error
    if row is None or row[0] > HEAD:
        raise StoreError(
            f"{path} is of a later release: its schema is {row and row[0]}"
        )


def _end_claims(path: Path) -> None:
    """No worker of then lives: raise the epochs, as burying their leases does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE worker SET lease_until = 0, epoch = epoch + 1")
        connection.execute("DELETE FROM capacity")


def _set_aside(path: Path, kept_as: Path) -> None:
    """Keep the store of now with what its log has not given to it yet; the log of one
    database must never meet another."""
    with suppress(FileNotFoundError):
        os.link(path, kept_as)
        _sync(kept_as.parent)
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{kept_as}{suffix}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
