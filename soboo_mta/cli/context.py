"""What every command shares: where the settings are, the opened store, how to speak.

Commands raise; `__main__` prints the sentence and chooses the exit code.
"""

import json
import os
import pwd
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from sqlalchemy import Engine

from soboo_mta.identity.state import Operator
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.net.clock import SystemClock
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings, SettingsError, load
from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import upgrade
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from soboo_mta.tenancy.signing.keys import operator_keys
from soboo_mta.tenancy.signing.slots import check_master

FAULT: Final = 1
CONFIG_FAULT: Final = 2
NO_ANSWER: Final = 3  # from DNS: neither good nor bad
_WIDE: Final = 500
_MEASURED: Final = 10_000  # characters: wider than any table
DEFAULT_CONFIG: Final = Path("soboo.toml")
WRONG_WORDS: Final = (FormatError, TenancyError)
"""What was typed cannot be done; the sentence says what to type instead."""
EXPECTED: Final = (*WRONG_WORDS, SecretError, StoreError)
"""What a command may raise for its user to read; all else is a fault of ours."""

ConfigPath = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="SOBOO_CONFIG",
        help="The settings file.",
        show_default=True,
    ),
]
"""The option of every command: `def show(config: ConfigPath = DEFAULT_CONFIG)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CliStore:
    """An installation as a command sees it. `operator` carries its own d= keys."""

    settings: Settings
    engine: Engine
    operator: Operator
    clock: Clock

    @property
    def master(self) -> MasterKey:
        """The master key of this store; raises SecretError. Only what needs it asks."""
        key = self.settings.master_key()
        read_now(self.engine, lambda connection: check_master(connection, key))
        return key


def open_store(config: Path) -> CliStore:
    """Return the installation that `config` describes, its schema made or brought up.

    Raises SettingsError and StoreError.
    """
    settings = load(config)
    make_data_directory(settings)
    engine = open_engine(settings.store_url)
    weakref.finalize(engine, engine.pool.dispose)  # closed when the command ends
    upgrade(engine)
    operator = settings.identity(read_now(engine, operator_keys))
    return CliStore(
        settings=settings, engine=engine, operator=operator, clock=SystemClock()
    )


def make_data_directory(settings: Settings) -> None:
    """Make the data directory, for its owner alone; raises SettingsError."""
    path = settings.server.data_directory
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"[server] data_directory: cannot make {path}: {error.strerror}"
        ) from error


def actor() -> str:
    """Who gives this command, for the events: the user of the operating system."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a user without a name
        return f"cli:{os.getuid()}"


def say(text: object) -> None:
    """Print a result (text, or a rich table) to standard output."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # a pipe has no width: no line of a table may be folded, a key's least of all
        console.width = _width(text, console) if isinstance(text, Table) else _WIDE
    if not isinstance(text, Table):  # a sentence is the terminal's to wrap
        console.print(text, soft_wrap=True)
    elif console.is_terminal and _width(text, console) > console.width:
        console.print(stacked(text), soft_wrap=True)
    else:
        console.print(text)


def stacked(table: Table) -> str:
    """A table as one block a row, a line for each cell that is not empty: where its
    columns do not fit, an id or a name would be cut and could not be copied."""
    heads = [str(column.header) for column in table.columns]
    wide = max(map(len, heads))
    blocks = []
    for row in zip(*(column.cells for column in table.columns), strict=True):
        cells = zip(heads, map(str, row), strict=True)
        lines = [
            f"{head:<{wide}}  {cell.replace(chr(10), chr(10) + ' ' * (wide + 2))}"
            for head, cell in cells
            if cell
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _width(table: Table, console: Console) -> int:
    """What the table would take if nothing in it were folded."""
    return Measurement.get(
        console, console.options.update(width=_MEASURED), table
    ).maximum


def be_sure(question: str, *, default: bool = False, err: bool = False) -> None:
    """Ask, and return at yes; typer.Abort at no or Ctrl-C. Where nobody can answer, as in
    a script, TenancyError says how not to be asked."""
    try:
        agreed = typer.confirm(question, default=default, err=err)
    except typer.Abort as silence:
        if sys.stdin.isatty():
            raise
        typer.echo(err=err)  # the question's line has no end yet
        raise TenancyError("nobody answers: --yes does not ask") from silence
    if not agreed:
        raise typer.Abort


def warn(text: str) -> None:
    """Print a remark to standard error."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)


def say_json(value: object) -> None:
    """Print a result as JSON; what JSON lacks is written as its text form, and a message's
    id as commands take it: as a number it would be too large for many readers."""
    typer.echo(json.dumps(_readable(value), default=str, indent=2, ensure_ascii=False))


def _readable(value: object) -> object:
    match value:
        case MessageId():
            return str(value)
        case dict():
            return {key: _readable(one) for key, one in value.items()}
        case list() | tuple():
            return [_readable(one) for one in value]
        case _:
            return value
