"""`soboo-mta reports dmarc`, as an operator types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import Alarm, tell
from soboo_mta.events.reports.dmarc import Figure, Whose, keep_report
from soboo_mta.mail.errors import FormatError
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import write_now
from tests.fakes.dmarc_reports import FORWARDER, OUR_ADDRESS, STRANGER, today
from tests.fakes.tenancy import ACME, NAME, with_domain, with_tenants
from tests.unit.events.test_events_dmarc import GOOGLE, OURS, STRANGE, YAHOO, counted

Run = Callable[..., str]


@pytest.fixture
def run(config: Path, store: CliStore) -> Run:
    settings = config.read_text().replace(
        'domain = "esp.example"',
        'domain = "esp.example"\ndmarc_reports = "dmarc@esp.example"',
    )
    config.write_text(settings)

    def made(at: Connection) -> None:
        with_tenants(at)
        with_domain(at)
        at.execute(update(sending_domain).values(verified_at=1))

    write_now(store.engine, made)

    def typed(*words: str) -> str:
        runner = CliRunner(env={"COLUMNS": "250", "SOBOO_CONFIG": str(config)})
        result = runner.invoke(app, ["reports", "dmarc", *words])
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == 0, result.output
        return result.stdout

    return typed


@pytest.fixture
def reports(store: CliStore, run: Run) -> None:
    """Two proved ones of yesterday, one that nobody is proved to have sent, an incident."""
    day, now = today(store.clock) - 1, store.clock.unix_ms()
    plain: dict[str, Any] = {"received_at": now, "first_day": day, "last_day": day}
    rest = Figure(
        whose=Whose.REST,
        source="",
        author=NAME,
        dkim=False,
        spf=False,
        messages=6,
    )
    alarm = Alarm(
        kind=EventKind.DMARC_FAILED,
        domain=NAME,
        subject="google.com",
        day=day,
        detail={
            "reporter": "google.com",
            "source": OUR_ADDRESS,
            "count": 3,
            "day": "2026-11-28",
            "dkim": "fail d=customer.com",
            "spf": "none",
        },
    )

    def made(at: Connection) -> None:
        keep_report(at, counted(1, OURS, STRANGE, **plain))
        keep_report(at, counted(2, OURS, rest, **{**plain, "sender": YAHOO}))
        keep_report(at, counted(3, **{**plain, "sender": None}))
        tell(at, alarm, [ACME], now=now)

    write_now(store.engine, made)


def test_a_line_for_each_domain(run: Run, reports: None) -> None:
    head, line = (one for one in run().splitlines() if "│" in one or "┃" in one)
    assert [one.strip() for one in head.strip("┃").split("┃")] == [
        "domain",
        "reports",
        "reporters",
        "messages",
        "pass",
        "ours failing",
        "sources not us",
        "advice",
    ]
    assert [one.strip() for one in line.strip("│").split("│")] == [
        NAME,
        "2",
        "2",
        "30",
        "66.6 %",
        "0",
        "1",
        "no record",
    ]


def test_one_domain_has_its_sources_incidents_and_advice(
    run: Run, reports: None
) -> None:
    lines = run(NAME.upper()).splitlines()
    assert lines[:7] == [
        f"{NAME}, 30 days",
        f"  reports: 2 by {GOOGLE}, {YAHOO}",
        "  not counted: 1 that nobody is proved to have sent"
        " (`soboo-mta returns list --kind dmarc-report`)",
        "  messages: 30, 66.6 % pass",
        "  of ours: 20, 100.0 % pass (0 were delivered)",
        "  forwarded: 0; not us: 4",
        "  in rows too many to be kept apart: 6",
    ]
    (stranger,) = [line for line in lines if STRANGER in line]
    assert [one.strip() for one in stranger.strip("│").split("│")] == [
        STRANGER,
        "other",
        "4",
        "0",
        "4",
        "spam.example",
        "",
    ]
    assert any("(several)" in line for line in lines)
    (incident,) = [line for line in lines if "dmarc-failed" in line]
    assert incident.endswith(
        f"dmarc-failed: 3 messages from {OUR_ADDRESS} failed on 2026-11-28, google.com"
        " reports (DKIM fail d=customer.com; SPF none)"
    )
    assert "advice: no record" in lines
    assert lines[-1].startswith("  DNS shows no DMARC record in force for")


def test_json_has_all_of_it(run: Run, reports: None) -> None:
    (line,) = json.loads(run("--json"))
    found = json.loads(run(NAME, "--json"))
    (alarm,) = found.pop("alarms")
    assert alarm["kind"] == "dmarc-failed"
    assert found == line
    assert found["shares"]["share"] == 20 / 30
    assert found["shares"]["ours_share"] == 1.0
    assert {one["source"] for one in found["sources"]} == {OUR_ADDRESS, STRANGER, ""}
    assert found["advice"]["raise_to"] is None


def test_many_sources_are_cut_and_said(run: Run, store: CliStore) -> None:
    day = today(store.clock) - 1
    some = [
        Figure(
            whose=Whose.FORWARDED,
            source=f"2001:db8::{n:x}",
            author=NAME,
            dkim=True,
            spf=False,
            messages=1,
        )
        for n in range(60)
    ]
    one = counted(
        1, *some, received_at=store.clock.unix_ms(), first_day=day, last_day=day
    )
    write_now(store.engine, lambda at: keep_report(at, one))
    assert "10 more sources: --json has them" in run(NAME)
    assert len(json.loads(run(NAME, "--json"))["sources"]) == 60


def test_without_reports_it_says_so(run: Run) -> None:
    assert run() == "no DMARC report of the last 30 days\n"
    assert run("--json") == "[]\n"
    shown = run(NAME, "--days", "7")
    assert "  reports: 0\n  of ours: none reported (0 were delivered)\n" in shown


def test_what_is_no_domain_is_refused(run: Run) -> None:
    with pytest.raises(FormatError, match="not a fully qualified domain"):
        run("customer")
    with pytest.raises(
        FormatError, match=r"nowhere\.example is no sending domain, and"
    ):
        run("nowhere.example")


def test_without_a_mailbox_for_reports_it_says_what_to_set(
    config: Path, store: CliStore
) -> None:
    runner = CliRunner(env={"COLUMNS": "250", "SOBOO_CONFIG": str(config)})
    result = runner.invoke(app, ["reports", "dmarc"])
    assert "set [operator] dmarc_reports" in result.output
    assert FORWARDER not in result.output
