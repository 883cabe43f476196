"""`soboo-mta reports tls`: figures, sentences of what to mend, and wrong words."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.events.reports.tls import HostReport, note_report
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import TlsFailure, TlsPolicy
from soboo_mta.returns.reports.tls import DAY_MS
from soboo_mta.store.writer import write_now
from tests.fakes.tenancy import with_domain, with_tenants

HOST = Domain("bounce.customer.com")


def run(*words: str) -> str:
    found = CliRunner().invoke(app, list(words), catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def note(
    store: CliStore, report_id: str, *, host: Domain = HOST, days_ago: int = 0
) -> None:
    at = store.clock.unix_ms() - days_ago * DAY_MS
    failed = TlsFailure(
        result="tlsa-invalid",
        sessions=1,
        sending_ip="192.0.2.1",
        receiving_mx="mx.esp.example",
        reason="X509",
    )
    report = HostReport(
        returned_id=1,
        received_at=at,
        reporter="There Ltd",
        proved_by=Domain("there.example"),
        report_id=report_id,
        host=host,
        begin_at=at - DAY_MS,
        end_at=at,
        policies=(
            TlsPolicy(
                policy="tlsa",
                domain=str(host),
                succeeded=7,
                failed=1,
                failures=(failed,),
            ),
        ),
    )
    write_now(store.engine, lambda connection: note_report(connection, report))


@pytest.fixture
def filled(store: CliStore) -> CliStore:
    def made(connection: Connection) -> None:
        with_tenants(connection)
        with_domain(connection)

    write_now(store.engine, made)
    note(store, "1")
    note(store, "2")
    note(store, "3", days_ago=20)
    note(store, "4", host=store.operator.bounce_domain)
    return store


def test_figures_failures_and_what_to_mend(filled: CliStore, config: Path) -> None:
    output = run("reports", "tls", "--config", str(config))
    (line,) = [one for one in output.splitlines() if f"{HOST} " in one and "%" in one]
    for word in ("tlsa", "signed", " 2 ", " 14 ", "87.5 %"):
        assert word in line
    assert output.count("\ntlsa-invalid: No TLSA record") == 1
    assert str(filled.operator.bounce_domain) in output


@pytest.mark.parametrize("name", ["customer.com", "bounce.customer.com"])
@pytest.mark.parametrize(("days", "reports"), [("14", 2), ("30", 3)])
def test_of_one_domain_within_some_days(
    filled: CliStore, config: Path, name: str, days: str, reports: int
) -> None:
    words = ("reports", "tls", name, "--days", days, "--config", str(config), "--json")
    said = json.loads(run(*words))
    (one,) = said["sessions"]
    assert (said["days"], one["host"], one["reports"]) == (int(days), HOST, reports)
    (failed,) = said["failures"]
    assert (failed["result"], failed["sessions"]) == ("tlsa-invalid", reports)
    assert failed["mend"].startswith("No TLSA record")
    assert (failed["receiving_mx"], failed["sending_ip"], failed["reason"]) == (
        "mx.esp.example",
        "192.0.2.1",
        "X509",
    )


def test_nothing_yet(store: CliStore, config: Path) -> None:
    output = run("reports", "tls", "--config", str(config))
    assert output == "no TLS report that counts came in the last 14 days\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [("x.example", "no sending domain and no bounce host"), ("a b", "is not a")],
)
def test_wrong_names(store: CliStore, config: Path, name: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        run("reports", "tls", name, "--config", str(config))


def test_wrong_days(store: CliStore, config: Path) -> None:
    found = CliRunner().invoke(
        app, ["reports", "tls", "--days", "0", "--config", str(config)]
    )
    assert found.exit_code == 2
