"""A process that opens the store once more keeps the locks of what it has open already."""

import subprocess
import sys
from pathlib import Path

import pytest

from soboo_mta.store.engine import open_engine
from soboo_mta.store.unit import StoreUnavailable

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
