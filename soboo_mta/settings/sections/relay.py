"""This installation: its store, its secrets, what it logs and keeps."""

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
)

from soboo_mta.settings.sections.base import Section
from soboo_mta.settings.values import (
    AddressField,
    Count,
    DomainField,
    Port,
    Wait,
    parse_duration,
    parse_octets,
)

MAX_WORKERS = 128  # of one host; more are a mistake


class Server(Section):
    """[server]: this installation."""

    data_directory: Path = Path("/var/lib/soboo-mta")
    workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)] | Literal["auto"] = "auto"
    host_name: DomainField | None = None
    stop_within: Wait = parse_duration("30s")


class Store(Section):
    """[store]: where mail, tenants and events are kept."""

    url: str = ""
    queued_units: Count = 2_000
    readers: Annotated[int, Field(ge=1, le=8)] = 2
    cached_entries: Count = 20_000
    min_free: Annotated[int, BeforeValidator(parse_octets), Field(ge=0)] = parse_octets(
        "100MiB"
    )


class Secrets(Section):
    """[secrets]: where the master key comes from: exactly one of the two."""

    master_key_file: Path | None = None
    master_key_env: str | None = None
    verp_key_version: Annotated[int, Field(ge=0, le=31)] = 0


class Tls(Section):
    """[tls]: the certificate that the listeners show."""

    certificate_file: Path | None = None
    private_key_file: Path | None = None


class Monitoring(Section):
    """[monitoring]: where metrics and health are told, and how much."""

    address: AddressField = ip_address("127.0.0.1")
    port: Port | None = None
    tenants: Count = 50
    next_hops: Count = 50


class Retention(Section):
    """[retention]: how long what was settled is kept."""

    keep: Wait = parse_duration("30d")


class Trace(Section):
    """[trace]: what is kept of what was said to next hops."""

    dialogue_size: Annotated[int, BeforeValidator(parse_octets), Field(ge=0)] = (
        parse_octets("4KiB")
    )
    tenants: tuple[str, ...] = ()
    destinations: tuple[DomainField, ...] = ()


class LogLevel(StrEnum):
    """The least important record that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(Section):
    """[log]: what is written to standard error, one JSON object a line."""

    level: LogLevel = LogLevel.INFO
