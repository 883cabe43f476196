"""Which domain a command means, and the note of what was done to it."""

from typing import Annotated

import typer

from soboo_mta.cli.context import (
    CliStore,
    actor,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.unit import Statement
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import (
    DomainView,
    list_domains,
    the_domain,
)

DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Whose, where several have it.")
]


def view_of(store: CliStore, text: str, tenant: str | None) -> DomainView:
    """Return the domain that was typed; raise FormatError or TenancyError."""
    name = Domain.parse(text)
    owner = None if tenant is None else TenantId(tenant)
    return read_now(
        store.engine, lambda connection: the_domain(connection, name, tenant=owner)
    )


def chosen(
    store: CliStore, text: str | None, tenant: str | None
) -> tuple[DomainView, ...]:
    if text is not None:
        return (view_of(store, text, tenant),)
    owner = None if tenant is None else TenantId(tenant)
    return read_now(
        store.engine, lambda connection: list_domains(connection, tenant=owner)
    )


def domain_event(kind: EventKind, settings: DomainSettings, now: int) -> Statement:
    """Return the statement that notes what a command did to a domain."""
    return recorded(
        kind, at=now, actor=actor(), tenant=settings.tenant, domain=settings.name
    )
