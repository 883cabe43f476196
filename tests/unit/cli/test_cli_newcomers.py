"""What trips who uses it for the first time: each says what is so, and what to do."""

import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Connection, update
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.cli.onboarding.watching import watch_table
from soboo_mta.identity.state import Purpose, RecordCheck, RecordStatus, RequiredRecord
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.ports import RecordType
from soboo_mta.settings import SettingsError
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.store import schema
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from tests.fakes.connector import a_message

Run = Callable[..., str]
LONG = "a-recipient-with-a-rather-long-name@a-domain-with-a-long-name.example"


@pytest.fixture
def run(config: Path) -> Run:
    def typed(*words: str, code: int = 0) -> str:
        runner = CliRunner(env={"COLUMNS": "300", "SOBOO_CONFIG": str(config)})
        result = runner.invoke(app, list(words))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return typed


def in_a_terminal(config: Path, *words: str) -> list[str]:
    """What a command prints to a real terminal of 80 columns, line by line."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "SOBOO_CONFIG": str(config), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "soboo_mta", *words],
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    octets = b""
    while True:
        try:
            block = os.read(ours, 65_536)
        except OSError:  # the last one has closed it
            break
        if not block:
            break
        octets += block
    os.close(ours)
    assert process.wait(30) == 0, octets
    return octets.decode().splitlines()


def test_at_80_columns_no_id_address_or_name_is_cut(
    run: Run, config: Path, store: CliStore
) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "a-customer-with-a-long-name.example", "--tenant", "acme")

    def fill(connection: Connection) -> None:
        message = a_message(1, to=(LONG,))
        state = RecipientState.QUEUED
        for one in accepting(message, pieces=0, holder=None, state=state):
            connection.execute(one.clause, [dict(row) for row in one.rows])

    write_now(store.engine, fill)
    listed = in_a_terminal(config, "queue", "list")
    assert f"message    {MessageId(1)}" in listed
    assert f"recipient  {LONG}" in listed
    name = "sb1._domainkey.a-customer-with-a-long-name.example."
    words = ("domain", "records", "a-customer-with-a-long-name.example")
    assert any(line.endswith(name) for line in in_a_terminal(config, *words))
    assert any("sb1" in line for line in in_a_terminal(config, "key", "list"))
    run("suppression", "add", "ann@there.example", "--tenant", "acme")
    told = in_a_terminal(config, "suppression", "list", "--tenant", "acme")
    assert "address" in told[1]  # it fits: a table


def test_a_second_suspension_or_resumption_is_no_news(run: Run) -> None:
    run("tenant", "add", "acme")
    assert "was not suspended" in run("tenant", "resume", "acme")
    assert "until `tenant resume acme`" in run("tenant", "suspend", "acme")
    assert "was suspended already" in run("tenant", "suspend", "acme")
    assert run("tenant", "resume", "acme") == "resumed tenant acme\n"


def test_a_revoked_credential_stays_revoked_and_replaced_ones_are_not_listed(
    run: Run,
) -> None:
    run("tenant", "add", "acme")
    run("credential", "add", "app", "--tenant", "acme")
    run("credential", "renew", "app")
    assert "app~" not in run("credential", "list")
    assert "app~" in run("credential", "list", "--replaced")
    run("credential", "revoke", "app")
    with pytest.raises(TenancyError, match="is revoked, and stays so"):
        run("credential", "renew", "app")


def test_a_domain_that_another_tenant_verified_is_said_to_be(
    run: Run, store: CliStore
) -> None:
    for tenant in ("acme", "other"):
        run("tenant", "add", tenant)
    run("domain", "add", "customer.com", "--tenant", "acme")
    verified = update(schema.sending_domain).values(verified_at=1)
    write_now(store.engine, lambda at: at.execute(verified) and None)
    said = run("domain", "add", "customer.com", "--tenant", "other")
    assert "customer.com is verified for tenant acme" in said


def test_a_lab_without_its_folder_does_not_make_one(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "zonse"
    said = run("lab", "--zones", str(folder), code=2)
    assert "there is no folder" in said
    assert not folder.exists()


def test_a_lab_says_which_address_is_in_use(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--zones", str(tmp_path), "--dns", "127.0.0.1:0")
        said = run("lab", *words, "--sink", f"127.0.0.1:{port}", code=1)
    assert f"a sink at 127.0.0.1, TCP port {port}: Address already in use" in said


def test_a_second_master_key_is_refused_in_words(run: Run, config: Path) -> None:
    with pytest.raises(SecretError, match="holds a master key already") as error:
        run("secret", "generate")
    assert "Errno" not in str(error.value)
    (config.parent / "master.key").unlink()
    with pytest.raises(SecretError, match="soboo-mta secret generate"):
        run("credential", "add", "app", "--operator")


def test_check_config_compares_the_master_key_with_the_store(
    run: Run, config: Path
) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme")
    assert run("check-config").endswith("good\n")
    key = config.parent / "master.key"
    key.unlink()
    MasterKey.generate().write_new(key)
    assert "made with another master key" in run("check-config", code=2)


def test_a_missing_settings_file_names_its_folder_and_the_option(
    run: Run, config: Path
) -> None:
    config.unlink()
    with pytest.raises(SettingsError) as error:
        run("tenant", "list")
    assert str(config.parent) in str(error.value)
    assert "--config FILE or SOBOO_CONFIG" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenant = 3", "tenant: should be a list"),
        ("tenant = ['acme']", "tenant.0: should be a table of keys"),
        (
            "[[tenant]]\nid = 'acme'\nname = 3",
            "tenant.0.name: write it as text in quotes",
        ),
    ],
)
def test_a_tenants_file_of_another_shape_is_said_in_tomls_words(
    run: Run, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "tenants.toml"
    file.write_text(text)
    with pytest.raises(FormatError) as error:
        run("apply", "-f", str(file))
    assert said in str(error.value)
    assert "TenantEntry" not in str(error.value)
    assert "tuple" not in str(error.value)


@pytest.mark.parametrize("group", ["queue", "tenant", "key", "domain", "store", "lab"])
def test_help_of_a_group_offers_its_own_commands_alone(run: Run, group: str) -> None:
    assert "--install-completion" not in run(group, "--help")


def test_the_demo_names_a_directory_that_it_cannot_make(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    for where, said in (
        (Path("/proc/x"), "cannot make /proc/x"),
        (file / "x", "Not a directory"),
        (tmp_path, "is not empty: name a new directory"),
    ):
        with pytest.raises(FormatError, match=said):
            run("demo", "--keep", str(where))


def test_a_restore_looks_for_the_file_before_it_asks(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no backup .*nope\.db"):
        run("store", "restore", str(tmp_path / "nope.db"))


def test_in_a_pipe_a_key_to_paste_stays_one_line(run: Run, config: Path) -> None:
    run("tenant", "add", "acme")
    words = ("domain", "add", "customer.example", "--tenant", "acme")
    shown = run(*words, "--mode", "manual")
    assert re.search(r"│ v=DKIM1; k=rsa; p=[A-Za-z0-9+/=]{390,} +│", shown)


def test_the_keys_of_an_unknown_domain_are_not_an_empty_list(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.example", "--tenant", "acme")
    with pytest.raises(TenancyError, match="there is no sending domain"):
        run("key", "list", "custom.example")


def test_onboarding_names_an_unknown_tenant_before_it_looks_at_dns(run: Run) -> None:
    with pytest.raises(TenancyError, match="there is no tenant acme"):
        run("onboard", "customer.example", "--tenant", "acme", "--yes", "--wait", "0")


def test_the_domains_of_an_unknown_tenant_are_not_an_empty_list(run: Run) -> None:
    with pytest.raises(TenancyError, match="there is no tenant nobody"):
        run("domain", "list", "--tenant", "nobody")


def test_where_nobody_can_answer_it_is_said_how_not_to_be_asked(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.example", "--tenant", "acme")
    with pytest.raises(TenancyError, match="--yes"):
        run("domain", "release", "customer.example")


def test_a_watch_at_80_columns_cuts_no_name() -> None:
    name = f"bounce.{'a-customer-with-a-long-name.example.' * 2}"
    record = RequiredRecord(
        owner=DnsName("bounce.customer.example"),
        kind=RecordType.CNAME,
        value="target.esp.example.",
        purpose=Purpose.BOUNCE,
    )
    check = RecordCheck(
        record=record,
        status=RecordStatus.WRONG,
        found="",
        cause=f"{name} exists",
        mend="",
        ttl=5,
        checked_at=1,
        good_at=None,
    )
    console = Console(width=80)
    with console.capture() as shown:
        console.print(watch_table([check]))
    assert "…" not in shown.get()
