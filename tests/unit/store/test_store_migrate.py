"""Migrations: the first revision is the schema, and running again changes nothing."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from soboo_mta.store import migrate
from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import HEAD, current, is_current, upgrade
from soboo_mta.store.schema import metadata


def test_revisions_build_exactly_the_schema_the_code_uses(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def test_the_head_named_in_the_code_is_the_newest_revision(engine: Engine) -> None:
    assert current(engine) == HEAD
    versions = Path(migrate.__file__).parent / "migrations" / "versions"
    assert max(file.name[:4] for file in versions.glob("[0-9]*.py")) == HEAD


def test_upgrading_again_changes_nothing(engine: Engine) -> None:
    before = current(engine)
    upgrade(engine)
    assert current(engine) == before
    assert is_current(engine)


def test_empty_store_is_not_current_until_upgraded(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    assert current(engine) is None
    assert not is_current(engine)
    upgrade(engine)
    assert is_current(engine)
    engine.dispose()
