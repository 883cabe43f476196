"""Reading the settings file, and what is wrong with it in sentences an operator can use.

Unknown keys are refused with the nearest right one, dangerous combinations with what to
change. Never shows a value that could be a secret.
"""

import tomllib
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from soboo_mta.settings.checks import refusals
from soboo_mta.settings.model import Settings

_Loc = tuple[int | str, ...]


class SettingsError(Exception):
    """The settings cannot be used; the text says where and what to change, a line each."""


def load(path: Path) -> Settings:
    """Return the settings in the TOML file at `path`; raises SettingsError.

    Relative paths in it are taken from the file's own directory.
    """
    tables = _read(path)
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        lines = _explain(error, Settings)
        raise SettingsError(f"{path}:\n" + "\n".join(lines)) from error
    if dangers := refusals(settings):
        raise SettingsError(f"{path}:\n" + "\n".join(dangers))
    return _with_absolute_paths(settings, path.absolute().parent)


# A file's tables are whatever TOML holds until the model has looked at them: Any.
def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise SettingsError(
            f"there is no {path.name} in {path.absolute().parent}: say where it is with"
            " --config FILE or SOBOO_CONFIG"
        ) from error
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def _with_absolute_paths(settings: Settings, base: Path) -> Settings:
    def placed(path: Path | None) -> Path | None:
        return None if path is None else base / path

    server, secrets, tls = settings.server, settings.secrets, settings.tls
    changed: dict[str, object] = {
        "server": server.model_copy(
            update={"data_directory": base / server.data_directory}
        ),
        "secrets": secrets.model_copy(
            update={"master_key_file": placed(secrets.master_key_file)}
        ),
        "tls": tls.model_copy(
            update={
                "certificate_file": placed(tls.certificate_file),
                "private_key_file": placed(tls.private_key_file),
            }
        ),
    }
    classification = settings.classification
    changed["classification"] = classification.model_copy(
        update={"rules": placed(classification.rules)}
    )
    publish = settings.publish
    changed["publish"] = publish.model_copy(
        update={
            "key_file": placed(publish.key_file),
            "directory": placed(publish.directory),
        }
    )
    events = settings.events
    changed["events"] = events.model_copy(update={"file": placed(events.file)})
    changed["listeners"] = tuple(
        one.model_copy(update={"client_ca_file": placed(one.client_ca_file)})
        for one in settings.listeners
    )
    return settings.model_copy(update=changed)


def _explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return a line for each fault; several lines where a check names several."""
    lines: list[str] = []
    details = error.errors(include_url=False, include_input=False)
    for detail in details:
        if not _follows(detail, details):
            lines += _sentences(detail, model)
    return list(dict.fromkeys(lines))


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a list lacks entries only because one in it is at fault, which is told."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in details
    )


def _sentences(detail: ErrorDetails, model: type[BaseModel]) -> list[str]:
    where, kind = _path(detail["loc"], model), detail["type"]
    if kind == "extra_forbidden":
        return [_unknown(detail["loc"], model)]
    if kind == "missing":
        return [f"{where} is missing"]
    if kind == "too_short":
        return [f"{where} is empty: it has one entry at least"]
    if kind == "tuple_type" and len(detail["loc"]) == 1:
        return [f"{where} may stand several times: write it with two brackets"]
    if kind == "tuple_type":
        return [f'{where} is a list: write it in brackets, as ["…"]']
    if kind == "model_type" and len(detail["loc"]) == 1:
        return [f"{where} stands once: write it with one bracket"]
    text = detail["msg"].removeprefix("Value error, ")
    return [f"{where}: {line}" if where else line for line in text.splitlines()]


def _path(loc: _Loc, model: type[BaseModel]) -> str:
    """As an operator writes it: `[dns] resolvers`, `[[sources]] number 2, name`."""
    if not loc:
        return ""
    head, rest = _head(str(loc[0]), model), loc[1:]
    if rest and isinstance(rest[0], int):
        head, rest = f"{head} number {rest[0] + 1}", rest[1:]
    key = next((str(part) for part in rest if isinstance(part, str)), "")
    return f"{head} {key}" if key else head


def _unknown(loc: _Loc, model: type[BaseModel]) -> str:
    if len(loc) == 1:
        hint = _nearest(str(loc[0]), model.model_fields)
        return f"there is no section [{loc[0]}]{hint}"
    key, section = str(loc[-1]), str(loc[0])
    sections = dict(_sections(model))
    known = sections[section].model_fields
    hint = _nearest(key, known) or _elsewhere(key, section, model)
    return f"{_path(loc[:-1], model)} has no key {key!r}{hint}"


def _nearest(word: str, known: Mapping[str, object]) -> str:
    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f": did you mean {found[0]!r}?" if found else ""


def _elsewhere(key: str, section: str, model: type[BaseModel]) -> str:
    """Where the key is known: in the section whose name is nearest, else in any."""
    found = [name for name, one in _sections(model) if key in one.model_fields]
    near = get_close_matches(section, found, n=1, cutoff=0.4) or found
    heads = " or ".join(_head(name, model) for name in near)
    return f": it belongs in {heads}" if heads else ""


def _head(section: str, model: type[BaseModel]) -> str:
    return f"[[{section}]]" if section in _lists(model) else f"[{section}]"


def _lists(model: type[BaseModel]) -> set[str]:
    return {
        name
        for name, field in model.model_fields.items()
        if typing.get_origin(field.annotation) is tuple
    }


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if typing.get_origin(kind) is tuple:
            kind = typing.get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield name, kind
