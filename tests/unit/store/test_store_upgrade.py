"""From the first release's schema to this one's, on both stores; and from a later one's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_engine, select, text
from sqlalchemy.exc import OperationalError

from soboo_mta.store import migrate
from soboo_mta.store.engine import open_engine
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import HEAD, current, upgrade
from soboo_mta.store.unit import StoreError
from tests.fakes.first_schema import FIRST, ROWS, build, fill


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A store of the first release with a row in every table."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'soboo.db'}")
    else:
        admin = request.getfixturevalue("postgresql_server")
        _admin(admin, "CREATE DATABASE first")
        engine = open_engine(admin.replace("/postgres?", "/first?"))
    with engine.begin() as connection:
        fill(connection, build(connection))
    yield engine
    engine.dispose()
    if request.param == "postgresql":
        _admin(admin, "DROP DATABASE first WITH (FORCE)")


def _admin(url: str, statement: str) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_an_upgrade_from_the_first_schema_keeps_every_row(old: Engine) -> None:
    assert current(old) == FIRST
    upgrade(old)
    assert current(old) == HEAD
    tables = MetaData()
    with old.connect() as connection:
        tables.reflect(connection)
        for name, row in ROWS.items():
            (kept,) = connection.execute(select(tables.tables[name])).mappings()
            assert {key: kept[key] for key in row} == row, name


def test_suppressions_of_an_earlier_release_hold_for_all_streams(old: Engine) -> None:
    row = {"tenant_id": "acme", "key": "a@x.example", "address": "A@x.example"}
    row |= {"because": "by hand", "since": 7}
    with old.begin() as connection:
        before = build(connection, "0016")
        connection.execute(before.tables["suppression"].insert().values(row))
    upgrade(old)
    after = MetaData()
    with old.connect() as connection:
        after.reflect(connection)
        (kept,) = connection.execute(select(after.tables["suppression"])).mappings()
    assert "suppression_before" not in after.tables
    assert {key: kept[key] for key in row} == row
    assert (kept["stream"], kept["reason"], kept["expires_at"]) == ("", "manual", None)


def test_case_131_an_upgrade_that_fails_changes_nothing(
    old: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is killed in the middle: it is one transaction."""
    from alembic import op

    def dies(*_: object, **__: object) -> None:
        raise StoreError("killed")

    with old.connect() as connection:
        before = MetaData()
        before.reflect(connection)
    monkeypatch.setattr(op, "create_table", dies)
    with pytest.raises(StoreError):
        upgrade(old)
    monkeypatch.undo()
    assert current(old) == FIRST
    with old.connect() as connection:
        after = MetaData()
        after.reflect(connection)
        rows = connection.execute(select(after.tables["gate"])).mappings().all()
    assert set(after.tables) == set(before.tables)
    assert [dict(row) for row in rows] == [ROWS["gate"]]
    upgrade(old)
    assert current(old) == HEAD


def test_case_130_a_store_of_a_later_release_is_refused_and_left_alone(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="schema 9999, of a later release"):
        upgrade(engine)
    assert current(engine) == "9999"


def test_an_old_store_is_not_upgraded_under_a_running_relay(old: Engine) -> None:
    with _relay_on(old), pytest.raises(StoreError, match="runs on this store"):
        upgrade(old)
    assert current(old) == FIRST
    upgrade(old)
    assert current(old) == HEAD


@pytest.mark.parametrize("old", ["postgresql"], indirect=True)
def test_a_refused_upgrade_holds_up_neither_readers_nor_renewals(old: Engine) -> None:
    with _relay_on(old), old.connect() as dump:
        dump.execute(text("SELECT count(*) FROM worker"))
        with pytest.raises(StoreError, match="runs on this store"):
            upgrade(old)
        _set_lease(old, "lease_until + 1")


@pytest.mark.parametrize("old", ["postgresql"], indirect=True)
def test_no_lease_begins_while_the_schema_changes(
    old: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def meanwhile(_: object) -> None:
        with old.connect() as other:
            other.execute(text("SET lock_timeout = '50ms'"))
            assert other.scalar(text("SELECT count(*) FROM worker"))
            with pytest.raises(OperationalError, match="lock timeout"):
                other.execute(text("UPDATE worker SET epoch = epoch + 1"))
        seen.append("refused")

    monkeypatch.setattr(migrate, "_upgrade", meanwhile)
    upgrade(old)
    assert seen == ["refused"]


@pytest.mark.parametrize("old", ["postgresql"], indirect=True)
def test_a_lease_of_a_clock_set_back_since_does_not_stop_an_upgrade(
    old: Engine,
) -> None:
    _set_lease(old, "extract(epoch FROM clock_timestamp()) * 1000 + 86400000")
    upgrade(old)
    assert current(old) == HEAD


@contextmanager
def _relay_on(engine: Engine) -> Iterator[None]:
    """What a relay has there: a lock on the file, or leases by the server's clock."""
    if engine.dialect.name == "sqlite":
        with RelayLock(engine):
            yield
        return
    _set_lease(engine, "extract(epoch FROM clock_timestamp()) * 1000 + 5000")
    yield
    _set_lease(engine, "extract(epoch FROM clock_timestamp()) * 1000 - 1")


def _set_lease(engine: Engine, until: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE worker SET lease_until = {until}"))


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_case_132_a_second_relay_on_one_store_is_refused(engine: Engine) -> None:
    lock = RelayLock(engine)
    lock.take()
    with pytest.raises(StoreError, match=r"a relay \(process \d+\) runs on this store"):
        RelayLock(engine).take()
    lock.leave()
    RelayLock(engine).take()
