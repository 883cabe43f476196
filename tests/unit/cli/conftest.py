"""A folder with settings and a master key, and its store."""

from pathlib import Path

import pytest

from soboo_mta.cli.context import CliStore, open_store
from tests.fakes.settings import SETTINGS
from tests.fakes.tenancy import MASTER


@pytest.fixture
def config(tmp_path: Path) -> Path:
    MASTER.write_new(tmp_path / "master.key")
    path = tmp_path / "soboo.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def store(config: Path) -> CliStore:
    return open_store(config)
