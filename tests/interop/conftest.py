"""Fixtures of the interop tests, and figures at the end of the run."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.interop.house import House, open_house
from tests.warm.commands import loaded_commands

__all__ = ["loaded_commands"]
_FIGURES = pytest.StashKey[list[str]]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One running house for all tests; they take the session's event loop."""
    async with open_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Other people's messages; a test that asks for them fails where they are not."""
    path = Path(os.environ.get("SOBOO_CORPORA", "../shared/corpora")).resolve()
    for name in ("dkim", "dmarc", "mime", "smtp-dialogs", "spf"):
        assert (path / name).is_dir(), (
            f"no corpora: {path / name} is not there; set SOBOO_CORPORA to the folder "
            "that has it, or leave test_corpora_*.py out as `make interop` does"
        )
    return path


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines to print at the end, whether tests pass or not."""
    lines = pytestconfig.stash.setdefault(_FIGURES, [])
    if hasattr(pytestconfig, "workeroutput"):  # one of several: its lines are sent on
        pytestconfig.workeroutput["figures"] = lines
    return lines


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take the figures of a process of tests that has ended."""
    lines = node.config.stash.setdefault(_FIGURES, [])
    lines += getattr(node, "workeroutput", {}).get("figures", [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)
