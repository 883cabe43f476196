"""Brings a store to this release's schema: numbered, forward-only Alembic revisions.

Needs no ini file; runs under the writers' lock, in one transaction. Alembic itself is
loaded only where there is something to do: most starts find the schema as it should be.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from soboo_mta.store.lock import RelayLock
from soboo_mta.store.unit import StoreError, StoreUnavailable
from soboo_mta.store.writer import read_now, write_now

HEAD = "0024"
"""The revision this release works with; a test holds it to the newest file."""
_LIVE = """
    SELECT host, process FROM worker
    WHERE lease_until > extract(epoch FROM clock_timestamp()) * 1000
    AND lease_until < extract(epoch FROM clock_timestamp()) * 1000 + 60000
"""  # what ends later is of a clock that was set back since: no lease is so long
_LOCK_KEY = 0x50B00  # PostgreSQL advisory lock: one migration at a time


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision; nothing where it is there already.

    All or nothing. Raises StoreError for a store of a later release, and for an older one
    on which a relay runs: its own release still writes there.
    """
    found = current(engine)
    if found == HEAD:
        return
    if found is None:
        write_now(engine, _upgrade)
        return
    if found > HEAD:
        raise StoreError(
            f"the store has schema {found}, of a later release; this one knows {HEAD}:"
            " run that release, or restore a backup made before it"
        )
    with RelayLock(engine):
        write_now(engine, _upgrade_unused)


def current(engine: Engine) -> str | None:
    """Return the revision the store is at; None for an empty one."""
    return read_now(engine, _revision)


def is_current(engine: Engine) -> bool:
    """Whether the store has this release's schema."""
    return current(engine) == HEAD


def _upgrade_unused(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # where no file can be locked
        _refuse_a_relay(connection)
        # So that no lease begins meanwhile; readers, a dump say, are let be.
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        connection.exec_driver_sql("LOCK TABLE worker IN EXCLUSIVE MODE")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        if _revision(connection) == HEAD:
            return  # another host was there first
        _refuse_a_relay(connection)
    _upgrade(connection)


def _refuse_a_relay(connection: Connection) -> None:
    live = connection.execute(text(_LIVE)).first()
    if live is not None:
        raise StoreUnavailable(
            f"a relay (process {live.process} on {live.host}) runs on this store:"
            " stop it first"
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # 0.3 s that most starts don't need
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
