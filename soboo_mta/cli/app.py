"""The command line: every command and group in one place, loaded when it is called.

A command that is not called is not imported: each costs start-up time.
"""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from soboo_mta import __version__

_COMMANDS = {
    "serve": "running.serve:serve",
    "check-config": "running.check_config:check_config",
    "onboard": "onboarding.onboard:onboard",
    "apply": "accounts.apply:apply",
    "trace": "running.trace:trace_message",
    "demo": "trial.demo:demo",
}
_GROUPS = {
    "secret": "accounts.secret:app",
    "tenant": "accounts.tenant:app",
    "credential": "accounts.credential:app",
    "domain": "domains.commands:app",
    "key": "keys.commands:app",
    "zone": "dns.zone:app",
    "connect": "connect.commands:app",
    "suppression": "recipients.suppression:app",
    "queue": "queue.commands:app",
    "store": "running.store:app",
    "lab": "trial.lab:app",
}


class _Commands(TyperGroup):
    """Finds commands by name in the tables above, in their order."""

    # typer's own copy of click has no public name: Any.
    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS, *_GROUPS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _COMMANDS:
            holder = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
            holder.command(cmd_name)(_load(_COMMANDS[cmd_name]))
            return _plain(typer.main.get_command(holder))
        if cmd_name in _GROUPS:
            group = _plain(typer.main.get_command(_load(_GROUPS[cmd_name])))
            group.name = cmd_name
            return group
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong with its words is said without the library's."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def _load(place: str) -> Any:  # Any: a command's function, or a group's Typer
    module, _, name = place.partition(":")
    return getattr(import_module(f"soboo_mta.cli.{module}"), name)


def _plain(command: Any) -> Any:  # Any: as above
    """Let a command's help be plain text: rich's table cuts options' names at 80 columns.
    Its group shows the first paragraph, which click would cut."""
    command.rich_markup_mode = None
    first = (command.help or "").partition("\n\n")[0]
    command.short_help = " ".join(first.split())
    for below in getattr(command, "commands", {}).values():
        _plain(below)
    return command


app = typer.Typer(
    name="soboo-mta",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a fault of ours shows its plain trace, no values
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
]


@app.callback()
def group(_: _Version = False) -> None:
    """An outbound mail relay that signs on behalf of your customers."""
