"""`soboo-mta domain verify`: a look at a domain's records now, kept in the store."""

import asyncio

import typer
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.domains.chosen import (
    DomainArgument,
    TenantOption,
    domain_event,
    view_of,
)
from soboo_mta.cli.domains.tables import (
    check_values,
    checks_table,
)
from soboo_mta.events.event import EventKind
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.net.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.resolver import DnsResolver, each_resolver
from soboo_mta.onboarding.check import CheckResult, DomainCheck
from soboo_mta.onboarding.watch.monitor import changes
from soboo_mta.settings.options import (
    authoritative_options,
    check_options,
    resolver_options,
)
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.domains import (
    DomainView,
    checks_of,
    store_check,
)


def verify(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Look at a domain's records now: expected, found, why. Exit code 1 while one lacks."""
    store = open_store(config)
    view = view_of(store, domain, tenant)
    result = asyncio.run(look(store, view))
    verified = keep(store, view, result)
    if as_json:
        say_json([check_values(check) for check in result.checks])
    else:
        say(checks_table(result.checks))
        _say_result(view, result, verified=verified)
    if not result.all_good:
        raise typer.Exit(FAULT)


async def look(store: CliStore, view: DomainView) -> CheckResult:
    """Look at a domain's records now; nothing is stored."""
    settings = store.settings
    recursive = DnsResolver(options=resolver_options(settings), clock=store.clock)
    check = DomainCheck(
        resolver=AuthoritativeResolver(
            recursive=recursive, options=authoritative_options(settings)
        ),
        operator=store.operator,
        suffixes=SuffixList(),
        clock=store.clock,
        options=check_options(settings),
        authority=DnsAuthority(recursive=recursive, options=resolver_options(settings)),
        resolvers=each_resolver(resolver_options(settings), store.clock),
    )
    domain_id = view.settings.domain_id
    before = read_now(store.engine, lambda connection: checks_of(connection, domain_id))
    return await check.check(view.settings, view.state.facts, before, is_thorough=True)


def keep(store: CliStore, view: DomainView, result: CheckResult) -> bool:
    now, settings = store.clock.unix_ms(), view.settings

    def write(connection: Connection) -> bool:
        verified = store_check(
            connection,
            settings.domain_id,
            checks=result.checks,
            facts=result.facts,
            owned=result.owned,
            next_check_at=result.next_check_at,
            changed=bool(changes(view.state.facts, result.facts)),
            now=now,
        )
        if verified:
            perform(connection, domain_event(EventKind.DOMAIN_VERIFIED, settings, now))
        return verified

    return write_now(store.engine, write)


def _say_result(view: DomainView, result: CheckResult, *, verified: bool) -> None:
    name = view.settings.name
    if verified:
        say(f"{name} is verified: {view.settings.tenant} may send from it")
    elif view.verified_at is None and result.owned:
        warn(f"{name} belongs to another tenant whose records are still in place")
    elif not result.owned:
        warn(f"nothing proves yet that {name} is {view.settings.tenant}'s")
    if result.all_good:
        say(f"all required records of {name} are good")
