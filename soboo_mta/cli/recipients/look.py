"""Looks at suppressed recipients: `list`, `show`, `history`."""

from collections.abc import Iterator
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
from soboo_mta.cli.recipients.forms import Address, Whose, as_values, shown
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant
from soboo_mta.tenancy.suppression import (
    Evidence,
    PastChange,
    SoftFailure,
    Suppression,
    count_suppressions,
    entries_of,
    folded,
    history,
    list_suppressions,
    soft_failures,
)

_ALL = "all"  # streams


def list_all(
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    after: Annotated[
        str, typer.Option(help="Go on behind this address (in lower case).")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 1_000,
    as_json: Json = False,
) -> None:
    """List the tenant's suppressed addresses."""
    store, tenant_id = open_store(config), parse_tenant_id(tenant)
    found, total = read_now(
        store.engine,
        lambda at: (
            _page(at, tenant_id, after, limit),
            count_suppressions(at, tenant_id),
        ),
    )
    if as_json:
        say_json([as_values(one) for one in found])
        return
    table = Table("address", "stream", "reason", "because", "since", "until")
    for one in found:
        table.add_row(
            str(one.address),
            one.stream or _ALL,
            one.reason,
            one.because,
            shown(one.since),
            shown(one.expires_at, never=""),
        )
    say(table if found else f"no address is suppressed for {tenant_id}")
    if len(found) < total:
        say(f"{len(found)} of {total}: --after and --limit show others")


def show(
    address: Address,
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show why the tenant's mail does not go to ADDRESS, and what counts against it."""
    store, mailbox = open_store(config), parse_mailbox(address)
    tenant_id = parse_tenant_id(tenant)
    now, rules = store.clock.unix_ms(), store.settings.suppression
    since = now - int(rules.soft_within.total_seconds() * 1_000)

    def look(at: Connection) -> tuple[tuple[Suppression, ...], list[SoftFailure]]:
        the_tenant(at, tenant_id)
        entries = entries_of(at, tenant_id, {folded(mailbox)})
        return entries, [*soft_failures(at, tenant_id, mailbox, since=since)]

    entries, failures = read_now(store.engine, look)
    if as_json:
        counted = [{"at": one.at, **one.evidence.as_json()} for one in failures]
        values = [as_values(one) for one in entries]
        say_json({"entries": values, "soft_failures": counted})
        return
    if not entries:
        say(f"{mailbox} is not suppressed for {tenant_id}")
    for one in entries:
        say("\n".join(_told(one, now)))
    for line in _failures_told(store, failures):
        say(line)


def show_history(
    address: Address,
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="The last changes.")] = 100,
    as_json: Json = False,
) -> None:
    """Show who suppressed ADDRESS and took it out again, when and why."""
    store, mailbox = open_store(config), parse_mailbox(address)
    tenant_id = parse_tenant_id(tenant)

    def look(at: Connection) -> tuple[PastChange, ...]:
        the_tenant(at, tenant_id)
        return history(at, tenant_id, mailbox, limit=limit)

    found = read_now(store.engine, look)
    if as_json:
        say_json([_change_values(one) for one in found])
        return
    table = Table("at", "change", "stream", "reason", "by", "because", "evidence")
    for one in found:
        table.add_row(
            shown(one.at),
            one.change,
            one.stream or _ALL,
            one.reason,
            one.actor,
            one.because,
            _evidence_line(one.evidence),
        )
    say(table if found else f"nothing is known of {mailbox} in the list of {tenant_id}")


def _page(
    connection: Connection, tenant: TenantId, after: str, limit: int
) -> list[Suppression]:
    """The page behind an address, whatever streams it has entries for."""
    key = after.lower()
    behind = len(entries_of(connection, tenant, {key})) if key else 0
    found = list_suppressions(
        connection, tenant, after=(key, "", ""), limit=limit + behind
    )
    return [one for one in found if one.key != key][:limit]


def _told(one: Suppression, now: int) -> Iterator[str]:
    stream = f"stream {one.stream}" if one.stream else "all streams"
    until = "for ever" if one.expires_at is None else f"until {shown(one.expires_at)}"
    over = ", which is over" if one.is_over(now) else ""
    yield f"{one.address}, {stream}: {one.reason}, {until}{over}"
    yield f"  because: {one.because}"
    yield f"  since {shown(one.since)}, by {one.actor or 'an earlier release'}"
    if line := _evidence_line(one.evidence):
        yield f"  evidence: {line}"


def _failures_told(store: CliStore, failures: list[SoftFailure]) -> Iterator[str]:
    if not failures:
        return
    rules = store.settings.suppression
    yield (
        f"soft failures: {len(failures)} of {rules.soft_limit} within"
        f" {rules.soft_within.days}d"
    )
    for one in failures:
        yield f"  {shown(one.at)}: {_evidence_line(one.evidence)}"


def _evidence_line(evidence: Evidence) -> str:
    known = evidence.as_json()
    known.pop("position", None)
    known.pop("failures", None)
    said = str(known.pop("said", ""))
    return ", ".join([*(f"{name} {value}" for name, value in known.items()), said])


def _change_values(one: PastChange) -> dict[str, object]:
    return {
        "at": one.at,
        "change": one.change,
        "address": str(one.address),
        "stream": one.stream,
        "reason": one.reason,
        "because": one.because,
        "actor": one.actor,
        "evidence": one.evidence.as_json(),
    }
