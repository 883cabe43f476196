"""`soboo-mta returns read`: what a file is, as the relay would recognise it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import say, say_json
from soboo_mta.cli.files import octets_in
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.returned import Return

_MAX_FILE: Final = 64 * 1024 * 1024
_SHOWN: Final = 10  # of a list
_SINGULAR: Final = {"policies": "policy"}
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A message; - is standard input.")
]


def read(
    file: File,
    from_address: Annotated[
        bool,
        typer.Option(
            "--from-address", help="Its reverse-path was an address, not the null one."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a message in FILE is: a bounce, a complaint, a report, an answer."""
    found = recognised(
        octets_in(file, limit=_MAX_FILE), Arrival(is_from_null=not from_address)
    )
    if as_json:
        value = TypeAdapter(type(found)).dump_python(found, mode="json")
        say_json({"kind": found.kind.value, **value})
        return
    say(found.kind.value)
    for line in lines_of(found, "  "):
        say(line)


def lines_of(value: Return | object, indent: str) -> Iterator[str]:
    """A line for each field that says something."""
    if not is_dataclass(value):
        return
    for field in fields(value):
        said = getattr(value, field.name)
        name = field.name.replace("_", " ")
        if isinstance(said, tuple):
            yield from _listed(name, said, indent)
        elif is_dataclass(said) and hasattr(said, "message_ids"):
            inner = list(lines_of(said, f"{indent}  "))
            yield from [f"{indent}{name}:", *inner] if inner else ()
        elif said not in ("", None):
            yield f"{indent}{name}: {said}"


def _listed(name: str, said: tuple[object, ...], indent: str) -> Iterator[str]:
    for one in said[:_SHOWN]:
        if is_dataclass(one):
            yield f"{indent}{_SINGULAR.get(name, name.removesuffix('s'))}:"
            yield from lines_of(one, f"{indent}  ")
        else:
            yield f"{indent}{name}: {one}"
    if len(said) > _SHOWN:
        yield f"{indent}{name}: {len(said) - _SHOWN} more"
