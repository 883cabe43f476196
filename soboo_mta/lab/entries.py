"""Reads a TOML file that is a list of tables of one kind, and says what is wrong in it.

Owns the sentences: file, line, the nearest known key or word. Knows no rule and no fault.
"""

import re
import tomllib
import typing
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Entry = TypeVar("Entry", bound=BaseModel)


def read_entries(path: Path, table: str, model: type[Entry]) -> tuple[Entry, ...]:
    """Return the `[[table]]` entries of a file; raises ValueError, a line a fault."""
    return parse_entries(path.read_text(encoding="utf-8"), path.name, table, model)


def parse_entries(
    text: str, name: str, table: str, model: type[Entry]
) -> tuple[Entry, ...]:
    """As `read_entries`, of a text; `name` is what the sentences call it."""
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError as trouble:  # it says the line itself
        raise ValueError(f"{name} is not TOML: {trouble}") from trouble
    faults = [
        f"{name}{_at(_line_of(text, key))}: there is no {key!r}"
        f"{nearest(key, [table])}: entries are [[{table}]]"
        for key in held
        if key != table
    ]
    listed = held.get(table, [])
    if not isinstance(listed, list):
        faults.append(f"{name}: write [[{table}]], with two brackets")
        listed = []
    entries = []
    for index, fields in enumerate(listed):
        try:
            entries.append(model.model_validate(fields))
        except ValidationError as trouble:
            for detail in trouble.errors(include_url=False):
                line = _entry_line(text, table, index, detail)
                faults.append(f"{name}{_at(line)}: {sentence(detail, model)}")
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(entries)


def sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Say one fault of an entry, with the nearest key or word where one is near."""
    key = next((str(part) for part in detail["loc"] if isinstance(part, str)), "")
    match detail["type"]:
        case "extra_forbidden":
            return f"there is no key {key!r}{nearest(key, model.model_fields)}"
        case "enum":
            words = _words(model, key)
            hint = nearest(str(detail["input"]), words)
            return f"{key} = {detail['input']!r} is none of {', '.join(words)}{hint}"
        case "missing":
            return f"{key} is missing"
    text = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {text}" if key else text


def _words(model: type[BaseModel], key: str) -> list[str]:
    """The words that a key with a closed choice may have, lists and options included."""
    open_ends: list[object] = [model.model_fields[key].annotation]
    words: list[str] = []
    while open_ends:
        kind = open_ends.pop()
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            words += [each.value for each in kind]
        elif isinstance(kind, UnionType) or typing.get_origin(kind) is not None:
            open_ends += typing.get_args(kind)
    return words


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of `known` was meant; "" where none is near."""
    by_case = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), by_case, n=1, cutoff=0.5)
    return f" (did you mean {by_case[found[0]]!r}?)" if found else ""


def _at(line: int | None) -> str:
    return "" if line is None else f" line {line}"


def _entry_line(text: str, table: str, index: int, detail: ErrorDetails) -> int | None:
    """The line of the key at fault, else of its entry; None for inline tables."""
    heading = re.compile(rf"\s*\[\[\s*{re.escape(table)}\s*\]\]")
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if heading.match(line)]
    if index >= len(starts):
        return None
    end = starts[index + 1] if index + 1 < len(starts) else len(lines)
    key = next((part for part in detail["loc"] if isinstance(part, str)), None)
    for at in range(starts[index] + 1, end):
        if key is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", lines[at]):
            return at + 1
    return starts[index] + 1


def _line_of(text: str, key: str) -> int | None:
    found = re.compile(rf"\s*(?:\[+\s*)?\"?{re.escape(key)}\"?\s*[\]=]")
    for at, line in enumerate(text.splitlines(), 1):
        if found.match(line):
            return at
    return None
