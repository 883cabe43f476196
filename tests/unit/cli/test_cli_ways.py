"""`domain add` and `domain set` with a customer's own relay or mailbox."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.way_out import Secret
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import the_domain
from soboo_mta.tenancy.domains.relays import secret_of
from tests.fakes.tenancy import MASTER, NAME

PASSWORD = "correct horse"
Run = Callable[..., str]


@pytest.fixture
def run(config: Path) -> Run:
    def typed(*words: str, answer: str | None = None) -> str:
        """Run a command; return what it printed. Our own errors are raised."""
        runner = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)})
        result = runner.invoke(app, list(words), input=answer)
        if result.exception is not None:
            raise result.exception
        assert PASSWORD not in result.output
        return result.output

    typed("tenant", "add", "acme")
    return typed


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return str(path)


def add(run: Run, *words: str, answer: str | None = None) -> str:
    return run("domain", "add", str(NAME), "--tenant", "acme", *words, answer=answer)


def add_relay(run: Run, password: str) -> str:
    relay = ("--relay-host", "smtp.customer.com:587", "--relay-user", "esp")
    return add(run, "--mode", "relay", *relay, "--relay-password-file", password)


def way(run: Run) -> dict[str, object]:
    (values,) = json.loads(run("domain", "list", "--json"))
    return dict(values["way_out"])


def stored_secret(store: CliStore) -> Secret | None:
    settings = read_now(store.engine, lambda at: the_domain(at, NAME)).settings
    return read_now(store.engine, lambda at: secret_of(at, MASTER, settings.domain_id))


def test_a_relay_is_set_up_shown_and_its_password_kept_secret(
    run: Run, password: str, store: CliStore
) -> None:
    shown = add_relay(run, password)
    assert "_soboo.customer.com." in shown
    assert "sb1._domainkey.customer.com." in shown
    assert "delivery through the customer's relay is not in this release" in shown
    assert "refused when it is submitted" in shown
    assert way(run) == {
        "host": "smtp.customer.com",
        "port": 587,
        "tls": "starttls",
        "user": "esp",
    }
    assert stored_secret(store) == Secret(PASSWORD)


def test_a_mailbox_takes_its_password_from_standard_input(
    run: Run, store: CliStore
) -> None:
    shown = add(
        run,
        *("--mode", "mailbox", "--mailbox", "news@customer.com"),
        *("--provider", "google", "--auth", "password", "--mailbox-secret-file", "-"),
        answer=f"{PASSWORD}\n",
    )
    assert "include:_spf.google.com" in shown
    assert "bounces arrive in it" in shown
    assert way(run)["host"] == "smtp.gmail.com"
    assert stored_secret(store) == Secret(PASSWORD)


def test_what_is_not_said_stays_and_a_new_server_needs_its_password(
    run: Run, password: str, store: CliStore
) -> None:
    add_relay(run, password)
    run("domain", "set", "customer.com", "--relay-tls", "implicit")
    assert (way(run)["tls"], stored_secret(store)) == ("implicit", Secret(PASSWORD))
    elsewhere = ("domain", "set", "customer.com", "--relay-host", "smtp.other.com:465")
    with pytest.raises(FormatError, match="give the password for esp at smtp"):
        run(*elsewhere)
    assert way(run)["host"] == "smtp.customer.com"
    run(*elsewhere, "--relay-password-file", "-", answer="another\n")
    assert stored_secret(store) == Secret("another")
    run("domain", "set", "customer.com", "--relay-user", "")
    assert (way(run)["user"], stored_secret(store)) == (None, None)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--mode", "relay"], "say the server's host and port"),
        (["--mode", "relay", "--relay-host", "smtp.customer.com"], "has no port"),
        (["--mode", "relay", "--relay-host", "10.0.0.1:587"], "is an address"),
        (["--mode", "relay", "--relay-host", "a.example:22"], "one of 25, 465, 587"),
        (
            ["--mode", "relay", "--relay-host", "a.example:587", "--relay-user", "u"],
            "give the password for u at a.example:587",
        ),
        (
            ["--mode", "relay", "--relay-host", "a.example:587", "--mailbox", "a@b.c"],
            "--mailbox is for mode mailbox alone",
        ),
        (["--relay-host", "a.example:587"], "--relay-host is for mode relay alone"),
        (["--mode", "mailbox"], "a mailbox has an address"),
        (["--mode", "mailbox", "--mailbox", "news"], "has no domain"),
        (
            ["--mode", "mailbox", "--mailbox", "a@b.c", "--relay-user", "x"],
            "--relay-user is for mode relay alone",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_added(
    run: Run, words: list[str], fault: str
) -> None:
    with pytest.raises(FormatError, match=fault):
        add(run, *words)
    assert "there are no domains" in run("domain", "list")


def test_a_domain_of_another_mode_has_no_relay_to_change(run: Run) -> None:
    add(run)
    with pytest.raises(FormatError, match="--relay-host is for mode relay alone"):
        run("domain", "set", "customer.com", "--relay-host", "smtp.customer.com:587")
