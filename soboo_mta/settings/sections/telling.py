"""Who is told of what happened."""

from pathlib import Path
from typing import Annotated

from pydantic import (
    Field,
)

from soboo_mta.settings.sections.base import Section
from soboo_mta.settings.values import (
    Count,
    Port,
    SyslogField,
    Wait,
    parse_duration,
)


class Events(Section):
    """[events]: where the operator reads what happens to all tenants."""

    file: Path | None = None
    syslog: SyslogField | None = None


class Webhooks(Section):
    """[webhooks]: how tenants' endpoints are told what happens, and which may be."""

    ports: Annotated[tuple[Port, ...], Field(min_length=1)] = (443, 8443)
    private_destinations: bool = False
    timeout: Wait = parse_duration("15s")
    parallel: Count = 64
    parallel_per_webhook: Count = 10
    max_waiting: Count = 100_000
    lifetime: Wait = parse_duration("3d")
    disable_after: Wait = parse_duration("3d")
