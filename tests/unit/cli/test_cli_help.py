"""The help of every command, on a terminal of 80 columns."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from soboo_mta import __version__
from soboo_mta.cli.app import app


def commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command and group below this one, with the words that call it."""
    yield words, command
    if isinstance(command, TyperGroup):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), *words, name)


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=lambda words: " ".join(words) or "(none)")
def test_help_is_whole_at_80_columns(words: tuple[str, ...]) -> None:
    runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    shown = runner.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert "…" not in shown.output
    assert not [one for one in shown.output.splitlines()[1:] if one.endswith("...")]
    assert max(map(len, shown.output.splitlines())) <= 80
    for one in ALL[words].params:
        if not getattr(one, "hidden", False) and one.param_type_name == "option":
            names = {*one.opts, *one.secondary_opts}
            assert names <= set(shown.output.replace(",", " ").split()), names


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_is_printed_and_nothing_else(words: list[str]) -> None:
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0
    assert shown.output == f"{__version__}\n"
