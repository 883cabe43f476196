"""`soboo-mta` without its loading: half a second of every command of a story.

`program` is what a story runs in its place; each command is a process of its own, with its
own arguments, environment, folder and streams, forked from one that has loaded everything.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from soboo_mta.cli.trial import world

_HERE = Path(__file__).parent


@contextmanager
def program(directory: Path) -> Iterator[tuple[str, ...]]:
    """Run the loaded process while in the context; the words to put before a command's."""
    place = directory / "socket"
    server = subprocess.Popen(
        [sys.executable, str(_HERE / "server.py"), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield (sys.executable, "-ISE", str(_HERE / "client.py"), str(place))
        assert server.stdin is not None
        server.stdin.close()  # which ends it


@pytest.fixture(scope="session", autouse=True)
def loaded_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where a conftest imports it, the commands of worlds are run so."""
    with (
        program(tmp_path_factory.mktemp("warm")) as words,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(world, "PROGRAM", words)
        yield
