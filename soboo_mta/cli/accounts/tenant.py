"""`soboo-mta tenant`: who sends through this relay, with what quotas, and who may not."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.mail.outcome import Reason
from soboo_mta.settings.warnings import LEAST_UNSUBSCRIBE_LIFE
from soboo_mta.spool.moves.settle import closing, opening
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import (
    MAX_QUOTA,
    Returns,
    SuppressedAt,
    Tenant,
    add_tenant,
    change_tenant,
    list_tenants,
    parse_streams,
    parse_tenant_id,
    parse_tenant_name,
    the_tenant,
)
from soboo_mta.transfer.routing.pools import DEFAULT_POOL

app = typer.Typer(
    no_args_is_help=True, help="Who sends through this relay.", add_completion=False
)
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Its id.")]
Name = Annotated[str | None, typer.Option(help="What people call it.")]
Weight = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Its share where several wait.")
]
Quota = Annotated[
    int | None,
    typer.Option(min=-1, max=MAX_QUOTA, help="Recipients at most; -1: no limit."),
]
Pool = Annotated[
    str | None,
    typer.Option(help='Of the sources its mail leaves from; "default": no choice.'),
]
Reports = Annotated[
    bool | None,
    typer.Option(
        "--reports/--no-reports",
        help="Whether its senders are told of mail that failed.",
    ),
]
ReportAddress = Annotated[
    str | None,
    typer.Option(
        help="Where reports go whose sender is in none of its domains; '' for none."
    ),
]
Suppressed = Annotated[
    SuppressedAt | None,
    typer.Option(
        "--suppression",
        help="Where a suppressed recipient fails: refused at RCPT, or on its way out.",
    ),
]
ReturnsGo = Annotated[
    Returns | None,
    typer.Option("--returns", help="Whether returns go home, or are events alone."),
]
ReturnsTo = Annotated[
    str | None,
    typer.Option(
        help="Where returns go whose sender is in none of its domains; '' for where"
        " reports do."
    ),
]
Unsubscribe = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STREAM",
        help="A stream whose mail gets an address of ours to leave it by (repeat it;"
        " '*': each stream that a message names; '': none).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command()
def add(
    tenant: TenantArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    name: Name = None,
    weight: Weight = None,
    hourly: Quota = None,
    daily: Quota = None,
    pool: Pool = None,
    reports: Reports = None,
    report_address: ReportAddress = None,
    suppression: Suppressed = None,
    returns: ReturnsGo = None,
    returns_to: ReturnsTo = None,
    unsubscribe: Unsubscribe = None,
) -> None:
    """Add a tenant."""
    store = open_store(config)
    tenant_id = parse_tenant_id(tenant)
    plain = Tenant(
        tenant_id=tenant_id,
        name=tenant_id,
        suspended=False,
        weight=1,
        hourly_quota=None,
        daily_quota=None,
    )
    new = _with(plain, name=name, weight=weight, hourly=hourly, daily=daily)
    new = replace(new, pool=chosen_pool(store, pool, new.pool))
    new = _reporting(new, reports, report_address)
    new = replace(new, suppression=suppression or new.suppression)
    new = _returning(new, returns, returns_to)
    new = replace(new, unsubscribe=chosen_streams(store, unsubscribe, new.unsubscribe))
    now = store.clock.unix_ms()

    def write(connection: Connection) -> None:
        add_tenant(connection, new, now=now)
        kind = EventKind.TENANT_ADDED
        perform(connection, recorded(kind, at=now, actor=actor(), tenant=tenant_id))

    write_now(store.engine, write)
    say(f"added tenant {tenant_id}")
    say(f"next: soboo-mta credential add NAME --tenant {tenant_id}")


@app.command("list")
def list_all(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List all tenants."""
    tenants = read_now(open_store(config).engine, list_tenants)
    if as_json:
        say_json([_as_json(one) for one in tenants])
        return
    table = Table(
        "tenant",
        "name",
        "state",
        "weight",
        "an hour",
        "a day",
        "pool",
        "reports",
        "returns",
    )
    for one in tenants:
        table.add_row(
            one.tenant_id,
            one.name,
            "suspended" if one.suspended else "active",
            str(one.weight),
            _quota_text(one.hourly_quota),
            _quota_text(one.daily_quota),
            one.pool or DEFAULT_POOL,
            _reports_text(one),
            one.returns.value,
        )
    say(table if tenants else "there are no tenants: soboo-mta tenant add TENANT")


@app.command("set")
def change(
    tenant: TenantArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    name: Name = None,
    weight: Weight = None,
    hourly: Quota = None,
    daily: Quota = None,
    pool: Pool = None,
    reports: Reports = None,
    report_address: ReportAddress = None,
    suppression: Suppressed = None,
    returns: ReturnsGo = None,
    returns_to: ReturnsTo = None,
    unsubscribe: Unsubscribe = None,
) -> None:
    """Change a tenant's name, weight, quotas, pool, reports, suppression, returns or
    unsubscribe addresses; what is not given stays."""
    given = (
        name,
        weight,
        hourly,
        daily,
        pool,
        reports,
        report_address,
        suppression,
        returns,
        returns_to,
        unsubscribe,
    )
    if all(one is None for one in given):
        raise FormatError(
            "say what to change: --name, --weight, --hourly, --daily, --pool, --reports,"
            " --report-address, --suppression, --returns, --returns-to or --unsubscribe"
        )
    store = open_store(config)
    tenant_id = parse_tenant_id(tenant)

    def write(connection: Connection) -> None:
        before = the_tenant(connection, tenant_id)
        after = _with(before, name=name, weight=weight, hourly=hourly, daily=daily)
        after = replace(
            after,
            pool=chosen_pool(store, pool, before.pool),
            suppression=suppression or before.suppression,
            unsubscribe=chosen_streams(store, unsubscribe, before.unsubscribe),
        )
        after = _reporting(after, reports, report_address)
        change_tenant(connection, _returning(after, returns, returns_to))

    write_now(store.engine, write)
    say(f"changed tenant {tenant_id}")


@app.command()
def suspend(tenant: TenantArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Stop a tenant: it submits nothing, and what waits is held."""
    if _suspend(open_store(config), tenant, suspended=True):
        say(
            f"suspended tenant {tenant}: its mail is held until `tenant resume {tenant}`"
        )
    else:
        say(f"tenant {tenant} was suspended already; nothing was changed")


@app.command()
def resume(tenant: TenantArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Let a suspended tenant send again, what was held first."""
    if _suspend(open_store(config), tenant, suspended=False):
        say(f"resumed tenant {tenant}")
    else:
        say(f"tenant {tenant} was not suspended; nothing was changed")


def chosen_pool(store: CliStore, given: str | None, before: str | None) -> str | None:
    """Return the pool to be kept; FormatError where the settings have none of that name."""
    if given is None:
        return before
    known = [DEFAULT_POOL, *(pool.name for pool in store.settings.pools)]
    if given not in known:
        raise FormatError(
            f"there is no pool {given[:60]!r}: the settings have {', '.join(known)}"
        )
    return None if given == DEFAULT_POOL else given


def chosen_streams(
    store: CliStore, given: Iterable[str] | None, before: frozenset[Stream]
) -> frozenset[Stream]:
    """Return the streams to be kept; FormatError where their addresses would end too soon.
    Says so where nothing here listens for what comes to them."""
    if given is None:
        return before
    streams = parse_streams(word for word in given if word)
    keep = store.settings.retention.keep
    if streams and keep < LEAST_UNSUBSCRIBE_LIFE:
        raise FormatError(
            "an unsubscribe address lives as long as its message is known, [retention]"
            f" keep, and that is {keep.days}d: set it to"
            f" {LEAST_UNSUBSCRIBE_LIFE.days}d or more"
        )
    if streams and not store.settings.return_listeners:
        warn(
            "there are no [[return_listeners]] in these settings: mail to unsubscribe"
            " addresses is taken by none of this host"
        )
    return streams


def keep_gate(connection: Connection, tenant: Tenant, *, now: int) -> None:
    """Close a suspended tenant's gate, open another's; note which in the events."""
    subject = str(tenant.tenant_id)
    if tenant.suspended:
        why = f"the operator suspended tenant {subject}"
        gate = closing(
            "tenant",
            subject,
            reason=Reason.TENANT_SUSPENDED,
            explanation=why,
            since=now,
        )
        kind = EventKind.TENANT_SUSPENDED
    else:
        gate = opening("tenant", subject)
        kind = EventKind.TENANT_RESUMED
    event = recorded(kind, at=now, actor=actor(), tenant=tenant.tenant_id)
    perform(connection, gate, event)


def _suspend(store: CliStore, text: str, *, suspended: bool) -> bool:
    """Whether that changed anything."""
    tenant_id, now = TenantId(text), store.clock.unix_ms()

    def write(connection: Connection) -> bool:
        before = the_tenant(connection, tenant_id)
        if before.suspended == suspended:
            return False
        after = replace(before, suspended=suspended)
        change_tenant(connection, after)
        keep_gate(connection, after, now=now)
        return True

    return write_now(store.engine, write)


def _with(
    tenant: Tenant,
    *,
    name: str | None,
    weight: int | None,
    hourly: int | None,
    daily: int | None,
) -> Tenant:
    return replace(
        tenant,
        name=tenant.name if name is None else parse_tenant_name(name),
        weight=weight or tenant.weight,
        hourly_quota=_quota(hourly, tenant.hourly_quota),
        daily_quota=_quota(daily, tenant.daily_quota),
    )


def _reporting(tenant: Tenant, reports: bool | None, address: str | None) -> Tenant:
    if reports is not None:
        tenant = replace(tenant, reports=reports)
    if address is None:
        return tenant
    return replace(tenant, report_address=parse_mailbox(address) if address else None)


def _returning(tenant: Tenant, returns: Returns | None, address: str | None) -> Tenant:
    if returns is not None:
        tenant = replace(tenant, returns=returns)
    if address is None:
        return tenant
    return replace(tenant, returns_to=parse_mailbox(address) if address else None)


def _quota(given: int | None, before: int | None) -> int | None:
    if given is None:
        return before
    return None if given < 0 else given


def _quota_text(quota: int | None) -> str:
    return "no limit" if quota is None else f"{quota:,}"


def _reports_text(tenant: Tenant) -> str:
    if not tenant.reports:
        return "off"
    return str(tenant.report_address or "to its own domains")


def _as_json(tenant: Tenant) -> dict[str, object]:
    addresses = {
        "report_address": tenant.report_address,
        "returns_to": tenant.returns_to,
    }
    texts = {name: one and str(one) for name, one in addresses.items()}
    return {**asdict(tenant), **texts, "unsubscribe": sorted(tenant.unsubscribe)}
