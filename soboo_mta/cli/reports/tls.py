"""`soboo-mta reports tls`: how TLS with our bounce hosts went, as others saw it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.queue.words import moment
from soboo_mta.events.reports.tls import Failures, Sessions, failures, sessions
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.returns.reports.tls import DAY_MS, MENDING
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains.bounce_hosts import bounce_hosts_of, is_bounce_host

_PROOF: Final = {True: "signed", False: "unproved"}
Name = Annotated[
    str | None,
    typer.Argument(metavar="DOMAIN", help="A sending domain, or a bounce host."),
]
Days = Annotated[
    int, typer.Option("--days", min=1, max=3650, help="Received within so many days.")
]
Limit = Annotated[int, typer.Option(min=1, help="Kinds of failures at most.")]


def tls(
    domain: Name = None,
    config: ConfigPath = DEFAULT_CONFIG,
    days: Days = 14,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show how sessions with bounce hosts went under TLS, and what to mend.

    Figures are those of TLS reports (RFC 8460). "unproved" ones were posted over HTTPS,
    where anybody may claim anything.
    """
    store = open_store(config)
    since = store.clock.unix_ms() - days * DAY_MS
    name = None if domain is None else Domain.parse(domain)

    def look(
        connection: Connection,
    ) -> tuple[tuple[Sessions, ...], tuple[Failures, ...]]:
        hosts = (
            None
            if name is None
            else _hosts(connection, name, store.operator.bounce_domain)
        )
        return (
            sessions(connection, since=since, hosts=hosts),
            failures(connection, since=since, hosts=hosts, limit=limit),
        )

    seen, failed = read_now(store.engine, look)
    if as_json:
        say_json(_values(days, seen, failed))
    else:
        _say(days, seen, failed)


def _hosts(
    connection: Connection, name: Domain, bounce_domain: Domain
) -> tuple[Domain, ...]:
    if name == bounce_domain or is_bounce_host(connection, name):
        return (name,)
    found = bounce_hosts_of(connection, name)
    if not found:
        raise FormatError(
            f"{name} is no sending domain and no bounce host: see `soboo-mta domain list`"
        )
    return found


def _say(days: int, seen: Sequence[Sessions], failed: Sequence[Failures]) -> None:
    if not seen:
        say(f"no TLS report that counts came in the last {days} days")
        return
    say(_sessions_table(seen))
    if not failed:
        return
    say(_failures_table(failed))
    for result in sorted({one.result for one in failed} & MENDING.keys()):
        say(f"{result}: {MENDING[result]}")


def _sessions_table(seen: Sequence[Sessions]) -> Table:
    table = Table(
        "bounce host",
        "policy",
        "proof",
        "reports",
        "succeeded",
        "failed",
        "share",
        "to",
    )
    for one in seen:
        table.add_row(
            one.host,
            one.policy,
            _PROOF[one.is_proved],
            str(one.reports),
            str(one.succeeded),
            str(one.failed),
            _share(one),
            moment(one.last_at),
        )
    return table


def _failures_table(failed: Sequence[Failures]) -> Table:
    table = Table(
        "bounce host", "result", "failed", "proof", "MX", "sender", "reporter", "reason"
    )
    for one in failed:
        table.add_row(
            one.host,
            one.result,
            str(one.sessions),
            _PROOF[one.is_proved],
            one.receiving_mx,
            one.sending_ip,
            one.reporter,
            one.reason,
        )
    return table


def _share(one: Sessions) -> str:
    """Of the sessions that succeeded."""
    all_of_them = one.succeeded + one.failed
    return f"{100 * one.succeeded / all_of_them:.1f} %" if all_of_them else ""


def _values(
    days: int, seen: Sequence[Sessions], failed: Sequence[Failures]
) -> dict[str, object]:
    return {
        "days": days,
        "sessions": [asdict(one) for one in seen],
        "failures": [
            {**asdict(one), "mend": MENDING.get(one.result)} for one in failed
        ],
    }
