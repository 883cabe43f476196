"""`soboo-mta complaints spare` and `unspare`: an operator's word on whose mail goes."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.domains.chosen import view_of
from soboo_mta.cli.recipients.forms import shown
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.tally.standings import (
    Scope,
    Standing,
    Subject,
    spare,
    standings,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings.values import parse_duration
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant

_LONGEST = timedelta(days=90)
_MS = timedelta(milliseconds=1)
OfTenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose mail; alone: all of it.")
]
OfDomain = Annotated[
    str | None, typer.Option("--domain", help="This sending domain's.")
]


def spare_one(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    lasts: Annotated[
        str, typer.Option("--for", help="How long, as 12h or 7d; up to 90d.")
    ] = "7d",
    because: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Let mail of a tenant, or of one domain, go meanwhile, however often it is complained of.

    What is slowed or held leaves within seconds; it is still warned of.
    """
    store = open_store(config)
    span = parse_duration(lasts)
    if not timedelta(0) < span <= _LONGEST:
        raise FormatError(f"--for {lasts}: more than nothing, and at most 90d")
    subject, name = _subject(store, tenant, domain)
    now = store.clock.unix_ms()
    until = now + span // _MS
    _note(store, subject, name, until=until, now=now, because=because)
    say(f"the mail of {subject.scope} {name} is spared until {shown(until)}")
    for one in read_now(store.engine, lambda at: _besides(at, subject)):
        warn(
            f"complaints are at {one.level} for {one.subject.scope} {one.subject.name}"
            " too: its mail waits all the same, until that is spared"
        )


def unspare(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    because: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Take that back: complaints have their effect again."""
    store = open_store(config)
    subject, name = _subject(store, tenant, domain)
    now = store.clock.unix_ms()
    _note(store, subject, name, until=now, now=now, because=because)
    say(f"the mail of {subject.scope} {name} is spared no more")


def _subject(
    store: CliStore, tenant: str | None, domain: str | None
) -> tuple[Subject, str]:
    """Whose mail was typed, and its name for people."""
    if domain is not None:
        settings = view_of(store, domain, tenant).settings
        subject = Subject(
            scope=Scope.DOMAIN, name=str(settings.domain_id), tenant=settings.tenant
        )
        return subject, str(settings.name)
    if tenant is None:
        raise FormatError("say whose mail: --tenant, or --domain")
    owner = parse_tenant_id(tenant)
    read_now(store.engine, lambda at: the_tenant(at, owner))
    return Subject(scope=Scope.TENANT, name=owner, tenant=owner), owner


def _besides(at: Connection, subject: Subject) -> tuple[Standing, ...]:
    """What else stops the mail of a domain: its tenant's standing."""
    owner = replace(subject, scope=Scope.TENANT, name=subject.tenant or "")
    return tuple(
        one
        for one in standings(at)
        if one.subject == owner != subject and one.level.stops
    )


def _note(
    store: CliStore, subject: Subject, name: str, *, until: int, now: int, because: str
) -> None:
    def write(at: Connection) -> None:
        spare(at, subject, until=until, now=now)
        event = recorded(
            EventKind.COMPLAINTS_SPARED,
            at=now,
            actor=actor(),
            tenant=subject.tenant,
            domain=Domain(name) if subject.scope is Scope.DOMAIN else None,
            detail={
                "scope": subject.scope.value,
                "subject": subject.name,
                "until": until,
                "because": because,
            },
        )
        perform(at, event)

    write_now(store.engine, write)
