"""`soboo-mta suppression`, as an operator types it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from soboo_mta.cli.context import CliStore
from soboo_mta.cli.recipients.suppression import app
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from tests.fakes.tenancy import with_tenants

Run = Callable[..., str]


@pytest.fixture
def run(config: Path, store: CliStore) -> Run:
    write_now(store.engine, with_tenants)

    def typed(*words: str, tenant: str = "acme") -> str:
        runner = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)})
        result = runner.invoke(app, [*words, "--tenant", tenant])
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == 0, result.output
        return result.output

    return typed


def test_an_address_is_added_listed_and_removed(run: Run, store: CliStore) -> None:
    assert "no address is suppressed for acme" in run("list")
    said = run("add", "Ann@There.example", "--because", "asked by letter")
    assert said == "suppressed Ann@there.example\n"
    assert "was suppressed before" in run("add", "Ann@there.example")
    assert "asked by letter" in run("list")
    assert "no address is suppressed" in run("list", tenant="rival")
    assert run("remove", "ann@there.example") == "removed ann@there.example\n"
    with pytest.raises(FormatError, match="is not on the list of acme"):
        run("remove", "ann@there.example")
    query = select(schema.event.c.kind, schema.event.c.detail).order_by(
        schema.event.c.id
    )
    events = read_now(store.engine, lambda at: at.execute(query).all())
    assert [row.kind for row in events] == ["suppression-added", "suppression-removed"]
    assert json.loads(events[0].detail) == {
        "added": 1,
        "address": "Ann@there.example",
        "because": "asked by letter",
    }


def test_a_file_is_imported_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("# from the old system\na@x.example\n\nb@x.example # bounced\nno\n")
    with pytest.raises(FormatError, match=r"1 malformed lines:\n  line 5: .*domain"):
        run("import", str(file))
    assert "no address" in run("list")
    lines = [f"u{n}@x.example" for n in range(2_500)] + ["U7@x.example"]
    file.write_text("\n".join(lines))
    run("add", "u9@x.example")
    assert "suppressed 2500 of 2501 addresses" in run("import", str(file))
    shown = run("list", "--limit", "2", "--after", "u1@x.example")
    assert "u2000@x.example" in shown
    assert "2 of 2501" in shown
    assert len(json.loads(run("list", "--json", "--limit", "9999"))) == 2_501


def test_what_cannot_be_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has no domain"):
        run("add", "ann")
    with pytest.raises(TenancyError, match="no tenant nobody"):
        run("add", "ann@x.example", tenant="nobody")
    with pytest.raises(FormatError, match="cannot read"):
        run("import", str(tmp_path / "none.txt"))
