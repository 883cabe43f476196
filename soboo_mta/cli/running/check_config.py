"""`soboo-mta check-config`: what is set, what warns, and whether it would start."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from soboo_mta.cli.context import CONFIG_FAULT, DEFAULT_CONFIG, ConfigPath, say, warn
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings import Settings, load
from soboo_mta.settings.certificates import faults_of_certificates
from soboo_mta.settings.warnings import warnings
from soboo_mta.store.engine import default_url, open_engine
from soboo_mta.store.migrate import is_current
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.secrets import SecretError
from soboo_mta.tenancy.signing.slots import check_master

_UNITS: Final = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
)


def check_config(
    config: ConfigPath = DEFAULT_CONFIG,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show defaults too, not only what is set.")
    ] = False,
) -> None:
    """Say what is set and what is wrong; exit code 0 when the relay would start, else 2."""
    settings = load(config)
    for line in described(settings, with_defaults=show_all):
        say(line)
    for line in warnings(settings):
        warn(f"warning: {line}")
    faults = tuple(_faults_of_files(settings))
    for line in faults:
        warn(f"error: {line}")
    if faults:
        raise typer.Exit(CONFIG_FAULT)
    say(f"{config}: good")


def described(settings: Settings, *, with_defaults: bool) -> Iterator[str]:
    """Return lines in the form of the file; passwords in the store's URL are stars."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _section(f"[{name}]", value, with_defaults)
        for one in value if isinstance(value, tuple) else ():
            yield from _section(f"[[{name}]]", one, with_defaults)


def _section(head: str, section: BaseModel, with_defaults: bool) -> Iterator[str]:
    names = type(section).model_fields if with_defaults else section.model_fields_set
    values = {name: getattr(section, name) for name in names}
    shown = {name: value for name, value in values.items() if value is not None}
    if shown:
        yield head
    for name in (field for field in type(section).model_fields if field in shown):
        yield f"{name} = {_written(name, shown)}"


def _written(name: str, values: Mapping[str, object]) -> str:
    value = values[name]
    if name == "url" and value:
        return f'"{_without_password(str(value))}"'
    return written(value)


def written(value: object) -> str:
    """Return the value as the settings file writes it."""
    match value:
        case bool():
            return str(value).lower()
        case StrEnum() | Path():
            return f'"{value}"'
        case int() | float():
            return str(value)
        case timedelta():
            return f'"{_duration(value)}"'
        case (address, int(port)) if not isinstance(address, int):
            host = f"[{address}]" if ":" in str(address) else address
            return f'"{host}:{port}"'
        case tuple():
            return "[" + ", ".join(map(written, value)) + "]"
        case _:
            return f'"{value}"'


def _duration(value: timedelta) -> str:
    for unit, length in _UNITS:
        if value and not value % length:
            return f"{value // length}{unit}"
    return "0s"


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "***"


def _check_master_key(settings: Settings) -> None:
    """Whether there is a key, and it is the one that the store was made with; a store
    that is not there yet is none's."""
    key, url = settings.master_key(), settings.store_url
    if (
        url == default_url(settings.server.data_directory)
        and not Path(url.removeprefix("sqlite:///")).exists()
    ):
        return
    engine = open_engine(url)
    try:
        if is_current(engine):  # an older store is upgraded, and looked at, by serve
            read_now(engine, lambda connection: check_master(connection, key))
    finally:
        engine.dispose()


def _faults_of_files(settings: Settings) -> Iterator[str]:
    """What the files that the settings name have wrong with them."""
    try:
        _check_master_key(settings)
    except (SecretError, StoreError) as error:
        yield str(error)
    try:
        settings.bounce_rules()
    except FormatError as error:
        yield str(error)
    yield from faults_of_certificates(settings)
