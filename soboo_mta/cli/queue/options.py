"""How the commands of the queue are told which mail is meant."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.spool.operator.orders import HoldScope
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.tenancy.accounts import the_tenant
from soboo_mta.tenancy.domains import list_domains

MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id.")]
OneMessage = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE]", help="One message, by its id.")
]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Of this tenant.")]
OfDomain = Annotated[
    str | None, typer.Option("--domain", help="From this sending domain.")
]
ToDomain = Annotated[str | None, typer.Option("--to", help="To this recipient domain.")]
ToSite = Annotated[
    str | None,
    typer.Option("--site", help="To the site of this mail host, all its domains."),
]
FromSource = Annotated[
    str | None, typer.Option("--source", help="That leaves from this source.")
]
Because = Annotated[
    str, typer.Option("--because", help="Shown to whoever asks why, and kept.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


class State(StrEnum):
    """What `queue list --state` may ask for."""

    QUEUED = "queued"
    ACTIVE = "active"
    DEFERRED = "deferred"
    HELD = "held"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed to say which mail is meant; None: any."""

    message: str | None = None
    tenant: str | None = None
    domain: str | None = None
    to: str | None = None
    site: str | None = None
    source: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """What was given, by its name."""
        names = ("message", "tenant", "domain", "to", "site", "source")
        values = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in values if value is not None}

    def __str__(self) -> str:
        words = {"message": "", "to": "to ", "tenant": "of ", "domain": "from "}
        said = (
            f"{words.get(name, name + ' ')}{text}" for name, text in self.given.items()
        )
        return " ".join(said) or "everything"

    def required(self) -> "Asked":
        """Return itself where something was given; else FormatError says what could be."""
        if not self.given:
            raise FormatError(
                "say which mail is meant: MESSAGE, --tenant, --domain, --to, --site or"
                " --source (several narrow it)"
            )
        return self


def selection(connection: Connection, asked: Asked) -> Selection:
    """Return what is meant, in the store's terms; a wrong word is an error that says so."""
    domain_ids = None
    if asked.domain is not None:
        name = Domain.parse(asked.domain)
        found = list_domains(connection, name=name)
        if not found:
            raise FormatError(
                f"there is no sending domain {name}: see `soboo-mta domain list`"
            )
        domain_ids = tuple(view.settings.domain_id for view in found)
    tenant = None
    if asked.tenant is not None:
        tenant = the_tenant(connection, TenantId(asked.tenant)).tenant_id
    return Selection(
        tenant=tenant,
        domain_ids=domain_ids,
        destination=None if asked.to is None else str(Domain.parse(asked.to)),
        site=None if asked.site is None else _host(asked.site),
        source=asked.source,
        message_id=None if asked.message is None else MessageId.parse(asked.message),
    )


def gates_of(asked: Asked, wanted: Selection) -> tuple[tuple[HoldScope, str], ...]:
    """Return the gates that stand for what is meant; none where several things narrow it.

    A name that several tenants send from is a gate for each of them.
    """
    if len(asked.given) != 1 or asked.message is not None:
        return ()
    if wanted.domain_ids is not None:
        return tuple((HoldScope.DOMAIN, str(one)) for one in wanted.domain_ids)
    subjects = {
        HoldScope.TENANT: wanted.tenant,
        HoldScope.DESTINATION: wanted.destination,
        HoldScope.SITE: wanted.site,
        HoldScope.SOURCE: wanted.source,
    }
    return tuple(
        (scope, str(one)) for scope, one in subjects.items() if one is not None
    )


def _host(text: str) -> str:
    return text.strip().rstrip(".").lower()
