"""`soboo-mta reports dmarc`: how mail of customers' domains passes, by DMARC reports."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.queue.words import moment
from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import PastAlarm, alarms_on
from soboo_mta.events.reports.dmarc import DAY_MS, Whose
from soboo_mta.events.reports.dmarc_view import SourceTotal, reported_authors
from soboo_mta.events.reports.domains import set_up
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.returns.reports.dmarc_advice import PolicyAdvice, percent
from soboo_mta.returns.reports.dmarc_standing import DmarcStanding, dmarc_standing
from soboo_mta.store.writer import read_now

_SHOWN: Final = 50  # sources; --json has all that are kept apart
_INCIDENT: Final = (
    "{count} messages from {source} failed on {day}, {reporter} reports"
    " (DKIM {dkim}; SPF {spf})"
)
_REPLAY: Final = (
    "{reported} messages reported with {selector}._domainkey.{d}, {elsewhere} of them"
    " from elsewhere, where {delivered} were delivered ({from} to {until})"
)
_OTHERS: Final = (Whose.OTHER, Whose.FORWARDED)
Name = Annotated[
    str | None,
    typer.Argument(metavar="DOMAIN", help="A From domain; else a line for each."),
]
Days = Annotated[
    int, typer.Option("--days", min=1, max=400, help="That the reports begin in.")
]


def dmarc(
    domain: Name = None,
    config: ConfigPath = DEFAULT_CONFIG,
    days: Days = 30,
    as_json: Json = False,
) -> None:
    """Show how customers' mail passes DMARC at receivers, and who else sends as them."""
    author = None if domain is None else Domain.parse(domain)
    store = open_store(config)
    if store.settings.operator.dmarc_reports is None:
        warn(
            "no report can come: set [operator] dmarc_reports (docs/domain-reports.md)"
        )
    today = store.clock.unix_ms() // DAY_MS
    if author is not None:
        one = _standing(store, author, today, days)
        _check_is_here(store, one)
        since = (today - days) * DAY_MS
        alarms = read_now(store.engine, lambda at: alarms_on(at, author, since))
        _show(one, alarms, days, as_json=as_json)
        return
    authors = read_now(store.engine, lambda at: reported_authors(at, today - days))
    found = [_standing(store, one, today, days) for one in authors]
    if as_json:
        say_json([_values(one) for one in found])
        return
    say(_overview(found) if found else f"no DMARC report of the last {days} days")


def _standing(store: CliStore, author: Domain, today: int, days: int) -> DmarcStanding:
    return read_now(
        store.engine, lambda at: dmarc_standing(at, author, today=today, days=days)
    )


def _check_is_here(store: CliStore, one: DmarcStanding) -> None:
    """Raise FormatError for a name that is not set up here and that nobody reports on."""
    is_reported = one.reports.number or one.reports.unproved
    if not (is_reported or read_now(store.engine, lambda at: set_up(at, [one.author]))):
        raise FormatError(
            f"{one.author} is no sending domain, and no report is on it: see"
            " `soboo-mta domain list`"
        )


def _overview(found: list[DmarcStanding]) -> Table:
    table = Table(
        *("domain", "reports", "reporters", "messages", "pass", "ours failing"),
        *("sources not us", "advice"),
    )
    for one in found:
        table.add_row(
            one.author,
            str(one.reports.number),
            str(len(one.reports.reporters)),
            str(one.shares.messages),
            percent(one.shares.share),
            str(one.shares.ours_failed),
            str(sum(source.whose in _OTHERS for source in one.sources)),
            _advised(one.advice),
        )
    return table


def _show(
    one: DmarcStanding, alarms: tuple[PastAlarm, ...], days: int, *, as_json: bool
) -> None:
    if as_json:
        told = [{**asdict(alarm), "kind": alarm.kind.value} for alarm in alarms]
        say_json({**_values(one), "alarms": told})
        return
    for line in _lines(one, days):
        say(line)
    if one.sources:
        say(_table(one.sources[:_SHOWN]))
    if len(one.sources) > _SHOWN:
        say(f"{len(one.sources) - _SHOWN} more sources: --json has them")
    for alarm in alarms:
        if alarm.kind is not EventKind.DMARC_POLICY_CAN_BE_RAISED:
            say(f"{moment(alarm.at)} {alarm.kind}: {_said(alarm)}")
    say(f"advice: {_advised(one.advice)}")
    for reason in one.advice.reasons:
        say(f"  {reason}")


def _lines(one: DmarcStanding, days: int) -> Iterator[str]:
    reports, shares = one.reports, one.shares
    yield f"{one.author}, {days} days"
    by = f" by {', '.join(reports.reporters)}" if reports.reporters else ""
    yield f"  reports: {reports.number}{by}"
    if reports.unproved:
        yield (
            f"  not counted: {reports.unproved} that nobody is proved to have sent"
            " (`soboo-mta returns list --kind dmarc-report`)"
        )
    if reports.left_out:
        yield f"  not read: {reports.left_out} rows of theirs, broken or too many"
    if not shares.messages:
        yield f"  of ours: none reported ({one.delivered} were delivered)"
        return
    yield f"  messages: {shares.messages}, {percent(shares.share)} pass"
    yield (
        f"  of ours: {shares.ours}, {percent(shares.ours_share)} pass"
        f" ({one.delivered} were delivered)"
    )
    yield f"  forwarded: {shares.forwarded}; not us: {shares.other}"
    if shares.rest:
        yield f"  in rows too many to be kept apart: {shares.rest}"


def _table(sources: tuple[SourceTotal, ...]) -> Table:
    table = Table("source", "whose", "messages", "pass", "fail", "SPF of", "DKIM of")
    for one in sources:
        table.add_row(
            one.source or "(several)",
            one.whose.value,
            str(one.messages),
            str(one.passed),
            str(one.failed),
            ", ".join(one.spf_domains),
            ", ".join(one.dkim_domains),
        )
    return table


def _said(alarm: PastAlarm) -> str:
    form = _INCIDENT if alarm.kind is EventKind.DMARC_FAILED else _REPLAY
    return form.format(**alarm.detail)


def _advised(advice: PolicyAdvice) -> str:
    if advice.raise_to is not None:
        return f"p={advice.policy} can be raised to p={advice.raise_to}"
    return f"keep p={advice.policy}" if advice.policy else "no record"


def _values(one: DmarcStanding) -> dict[str, object]:
    values = asdict(one)
    values["shares"] |= {"share": one.shares.share, "ours_share": one.shares.ours_share}
    return values
