"""Groups of commands that are imported when they are called: each costs start-up time."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup


class LazyGroup(TyperGroup):
    """Finds commands and groups by name in `places`, in its order; those that are
    registered in the usual way come after them."""

    places: ClassVar[Mapping[str, str]] = {}

    # typer's own copy of click has no public name: Any.
    def list_commands(self, ctx: Any) -> list[str]:
        return [*self.places, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        command = _plain(_command(cmd_name, self.places[cmd_name]))
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong with its words is said without the library's."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def lazy_group(places: Mapping[str, str]) -> type[LazyGroup]:
    """Return the `cls` of a Typer whose commands are at `places`: name → module below
    `soboo_mta.cli`, a colon, and the name of a function or of a Typer there."""
    return type("Commands", (LazyGroup,), {"places": places})


def _command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"soboo_mta.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    holder = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    holder.command(name)(found)
    return typer.main.get_command(holder)


def _plain(command: Any) -> Any:
    """Let a command's help be plain text: rich's table cuts options' names at 80 columns.
    Its group shows the first paragraph, which click would cut."""
    command.rich_markup_mode = None
    first = (command.help or "").partition("\n\n")[0]
    command.short_help = " ".join(first.split())
    for below in getattr(command, "commands", {}).values():
        _plain(below)
    return command
