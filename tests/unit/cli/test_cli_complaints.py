"""Complaints from the command line: whose mail goes, and what is said of it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from soboo_mta.__main__ import main
from soboo_mta.cli.context import CliStore
from soboo_mta.events.tally.standings import (
    Level,
    Scope,
    Standing,
    Subject,
    keep_standing,
    standings,
)
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.tenancy import ACME

Run = Callable[..., tuple[str, str]]
TENANT = Subject(scope=Scope.TENANT, name="acme", tenant=ACME)


@pytest.fixture
def run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    def command(*words: str, code: int = 0) -> tuple[str, str]:
        line = ["soboo-mta", *words, "--config", str(config)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        assert (end.value.code or 0) == code, out.err
        return out.out, out.err

    return command


@pytest.fixture
def acme(store: CliStore, run: Run) -> CliStore:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme", "--mode", "cname")
    return store


def stands(store: CliStore, level: Level) -> None:
    standing = Standing(
        subject=TENANT, level=level, complaints=30, delivered=9_000, since=1
    )

    def write(at: Connection) -> None:
        keep_standing(at, standing, now=1)

    write_now(store.engine, write)


@pytest.mark.parametrize(
    ("level", "is_told"), [(Level.WARN, False), (Level.SLOW, True), (Level.HOLD, True)]
)
def test_who_spares_a_domain_is_told_that_its_tenant_s_mail_waits_still(
    acme: CliStore, run: Run, level: Level, is_told: bool
) -> None:
    stands(acme, level)
    said, warned = run("complaints", "spare", "--domain", "customer.com", "--for", "1d")
    assert said.startswith("the mail of domain customer.com is spared until ")
    assert (f"complaints are at {level} for tenant acme too" in warned) == is_told


def test_who_spares_a_tenant_spares_all_of_it(acme: CliStore, run: Run) -> None:
    stands(acme, Level.HOLD)
    _, warned = run("complaints", "spare", "--tenant", "acme")
    assert warned == ""
    (found,) = read_now(acme.engine, standings)
    assert found.spared_until > 0


def test_rates_of_an_unknown_tenant_are_an_error(acme: CliStore, run: Run) -> None:
    assert run("complaints", "rates", "--tenant", "acme")[0].startswith("nothing was")
    assert "acmee" in run("complaints", "rates", "--tenant", "acmee", code=2)[1]
