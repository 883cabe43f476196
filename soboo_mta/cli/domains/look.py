"""`soboo-mta domain verify`: a look at a domain's records now, kept in the store."""

import asyncio
from dataclasses import replace

import typer
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.domains.chosen import (
    DomainArgument,
    TenantOption,
    view_of,
)
from soboo_mta.cli.domains.standing.tables import (
    condition_values,
    standing_table,
    state_word,
)
from soboo_mta.cli.domains.tables import (
    check_values,
    checks_table,
)
from soboo_mta.cli.fence import acknowledged
from soboo_mta.cli.queue.words import moment
from soboo_mta.daemon.domains.keeping import Kept, keep_look
from soboo_mta.daemon.domains.looking import domain_check
from soboo_mta.identity.standing import Capability, worst
from soboo_mta.identity.state import RecordCheck, RecordStatus
from soboo_mta.onboarding.check import CheckResult
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.watch.monitor import Observation, changes
from soboo_mta.settings.options import timers
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError, generation
from soboo_mta.tenancy.domains import DomainView, checks_of

_PATIENCE = 5.0  # seconds for workers to take the change in; a late one is named


def verify(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Look at a domain's records now: expected, found, why; and how the domain stands.

    Exit code 1 while a required record lacks. Once it ends, what leaves does so by what
    was seen; a worker that is late is named.
    """
    store = open_store(config)
    view = view_of(store, domain, tenant)
    result = asyncio.run(look(store, view))
    kept = keep(store, view, result)
    acknowledged(store, read_now(store.engine, generation), _PATIENCE)
    if as_json:
        say_json(_look_values(store, view, result, kept))
    else:
        say(checks_table(result.checks))
        if kept.conditions:
            say(standing_table(kept.conditions, result.checks, timers(store.settings)))
        _say_reports(result.reports)
        say(f"next look: {moment(kept.next_check_at)}")
        _say_result(view, result, verified=kept.verified)
    if not result.all_good:
        raise typer.Exit(FAULT)


async def look(store: CliStore, view: DomainView) -> CheckResult:
    """Look at a domain's records now; nothing is stored."""
    check = domain_check(store.settings, store.operator, store.clock)
    before = _seen_before(store, view)
    return await check.check(view.settings, view.state.facts, before, is_thorough=True)


def _seen_before(store: CliStore, view: DomainView) -> tuple[RecordCheck, ...]:
    return read_now(store.engine, lambda at: checks_of(at, view.settings.domain_id))


def keep(store: CliStore, view: DomainView, result: CheckResult) -> Kept:
    """Store a look as the monitor does; TenancyError where the domain is gone."""
    settings = view.settings
    observation = Observation(
        domain_id=settings.domain_id,
        before=_seen_before(store, view),
        result=result,
        changes=changes(view.state.facts, result.facts),
    )

    def write(connection: Connection) -> Kept | None:
        return keep_look(
            connection,
            observation,
            timers=timers(store.settings),
            now=store.clock.unix_ms(),
            actor=actor(),
        )

    kept = write_now(store.engine, write)
    if kept is None:
        raise TenancyError(f"{settings.name} was released while it was looked at")
    return kept


def _look_values(
    store: CliStore, view: DomainView, result: CheckResult, kept: Kept
) -> dict[str, object]:
    settings, limits = view.settings, timers(store.settings)
    return {
        "name": settings.name,
        "tenant": settings.tenant,
        "state": state_word(replace(view, standing=worst(kept.conditions))),
        "next_check_at": kept.next_check_at,
        "standings": [condition_values(one, limits) for one in kept.conditions],
        "records": [check_values(check) for check in result.checks],
        "reports": _report_values(result.reports),
    }


def _report_values(found: Finding | None) -> dict[str, str] | None:
    if found is None:
        return None
    words = {"status": found.status.value, "fault": found.fault.value}
    return {**words, "cause": found.cause, "mend": found.mend}


def _say_reports(found: Finding | None) -> None:
    """Why `can_report` is not good: no record of the table says it."""
    if found is not None and found.status is not RecordStatus.GOOD:
        say(f"{Capability.REPORT} is recommended, and {found.status}: {found.cause}")
        say(f"to mend it: {found.mend}")


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
