"""`soboo-mta complaints rates`: complaints against deliveries."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.recipients.forms import shown
from soboo_mta.events.tally.counting import DAY_MS
from soboo_mta.events.tally.standings import (
    Level,
    Scope,
    Standing,
    Subject,
    standings,
)
from soboo_mta.events.tally.view import sent_since
from soboo_mta.mail.ids import DomainId
from soboo_mta.returns.complaints import Rate, percent, rates
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant
from soboo_mta.tenancy.domains.rows import view_of


def show_rates(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[
        str | None, typer.Option(help="Of this tenant and its domains alone.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=60, help="With today. Default: [complaints] days."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how often mail is complained of, by tenant, by sending domain and by provider,
    the worst first, with what is done about it now."""
    store = open_store(config)
    over = days or store.settings.complaints.days
    first = store.clock.unix_ms() // DAY_MS - over + 1
    found, known = read_now(
        store.engine,
        lambda at: (rates(sent_since(at, first)), standings(at)),
    )
    if tenant is not None:
        owner = parse_tenant_id(tenant)
        read_now(store.engine, lambda at: the_tenant(at, owner))
        found = tuple(one for one in found if one.subject.tenant == owner)
        known = tuple(one for one in known if one.subject.tenant == owner)
    rows = _rows(store, found, known)
    if as_json:
        say_json(rows)
        return
    if not rows:
        say(f"nothing was complained of in {over} days")
        return
    say(_table(rows))


def _rows(
    store: CliStore, found: Sequence[Rate], known: Sequence[Standing]
) -> list[dict[str, object]]:
    """What is known of each subject: its rate over the days asked for, and its level as
    the relay last judged it."""
    standing = {one.subject: one for one in known}
    seen = {one.subject: one for one in found}
    subjects = [*seen, *(one for one in standing if one not in seen)]
    names = read_now(store.engine, lambda at: names_of(at, subjects))
    return [
        _row(subject, names[subject], seen.get(subject), standing.get(subject))
        for subject in subjects
    ]


def _row(
    subject: Subject, name: str, rate: Rate | None, standing: Standing | None
) -> dict[str, object]:
    return {
        "scope": subject.scope.value,
        "name": name,
        "tenant": subject.tenant,
        "complaints": rate.complaints if rate else 0,
        "delivered": rate.delivered if rate else 0,
        "share": rate.share if rate else 0.0,
        "level": (standing.level if standing else Level.GOOD).value,
        "since": standing.since if standing else None,
        "spared_until": (standing.spared_until or None) if standing else None,
    }


def names_of(
    connection: Connection, subjects: Sequence[Subject]
) -> Mapping[Subject, str]:
    """Return what people call them: a domain by its name, once it is gone by its number."""
    names = {one: one.name for one in subjects}
    for one in subjects:
        if one.scope is Scope.DOMAIN:
            view = view_of(connection, DomainId(int(one.name)))
            if view is not None:
                names[one] = str(view.settings.name)
    return names


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    table = Table(
        "of",
        "name",
        "tenant",
        "complaints",
        "delivered",
        "rate",
        "level",
        "spared until",
    )
    for row in rows:
        share, spared = row["share"], row["spared_until"]
        table.add_row(
            str(row["scope"]),
            str(row["name"]),
            str(row["tenant"] or ""),
            str(row["complaints"]),
            str(row["delivered"]),
            percent(share) if isinstance(share, float) else "",
            str(row["level"]),
            shown(spared) if isinstance(spared, int) else "",
        )
    return table
