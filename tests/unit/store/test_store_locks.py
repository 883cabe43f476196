"""A process that opens the store once more keeps the locks of what it has open already."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import tenant
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.store.writer import Writer

_ASK = """\
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""  # SQLite's shared lock, held by each connection in WAL mode


def is_held(path: Path) -> bool:
    """Whether another process finds the store in use: what forbids it to end the WAL."""
    asked = subprocess.run([sys.executable, "-c", _ASK, str(path)], capture_output=True)
    return b"BlockingIOError" in asked.stderr


def test_opening_the_store_again_gives_no_lock_up(
    sqlite_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "soboo.db"
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        assert is_held(path)
        open_engine(sqlite_url).dispose()
        assert is_held(path)
    engine.dispose()
    assert not is_held(path)


def test_the_store_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    engine.dispose()
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot open the store at"):
        open_engine(f"sqlite:///{tmp_path}")
    with pytest.raises(StoreUnavailable, match="No such file"):
        open_engine(f"sqlite:///{tmp_path / 'none' / 'soboo.db'}")


async def test_a_writer_without_a_free_descriptor_still_commits(
    sqlite_url: str,
) -> None:
    """It has all open that it needs: what was delivered is not delivered again."""
    engine = open_engine(sqlite_url)
    writer = Writer(engine)
    await writer.start()
    try:
        await writer.transact(lambda at: at.execute(tenant.insert(), _tenant("first")))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free(), hard))
        try:
            await writer.transact(
                lambda at: at.execute(tenant.insert(), _tenant("second"))
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        found = await writer.read(lambda at: set(at.scalars(select(tenant.c.id))))
        assert found == {"first", "second"}
    finally:
        await writer.close()
        engine.dispose()


def _tenant(name: str) -> dict[str, object]:
    return {"id": name, "name": name, "created_at": 0}


def _lowest_free() -> int:
    """A limit that no descriptor can be opened under."""
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    return min(read, write)
