"""Two commands at once, and words that no command or store can take."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soboo_mta.cli.accounts.apply import carry_out
from soboo_mta.cli.app import app
from soboo_mta.cli.context import EXPECTED, CliStore, open_store
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.spool.view import gates
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import the_tenant
from soboo_mta.tenancy.declared.apply import plan_changes
from soboo_mta.tenancy.declared.tenants_file import load_tenants
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from tests.fakes.settings import SETTINGS

Run = Callable[..., str]


@pytest.fixture
def typed(config: Path) -> Run:
    """Run a command of the whole program; errors for its user are raised."""

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner(env={"SOBOO_CONFIG": str(config)}).invoke(app, list(words))
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_apply_beside_a_suspension_leaves_no_gate_that_nobody_opens(
    typed: Run, store: CliStore, tmp_path: Path
) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[[tenant]]\nid = "acme"\n')
    typed("apply", "-f", str(file))
    file.write_text('[[tenant]]\nid = "acme"\nweight = 2\n')
    wanted = load_tenants(file)
    changes = read_now(store.engine, lambda at: plan_changes(at, wanted))
    typed("tenant", "suspend", "acme")  # while apply makes its keys
    carry_out(store, changes)
    typed("tenant", "resume", "acme")
    assert not read_now(
        store.engine, lambda at: the_tenant(at, TenantId("acme"))
    ).suspended
    assert read_now(store.engine, gates) == ()


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "add", "big", "--hourly", "9" * 30),
        ("key", "revoke", "9" * 30),
        ("queue", "list", "--limit", "9" * 30),
        ("queue", "list", "--tenant", "a\udcff"),
        ("queue", "why", "0"),
        ("trace", "\udcff" * 13),
        ("domain", "verify", "\udcff.example"),
        ("domain", "add", "x" * 300, "--tenant", "a"),
        ("credential", "add", "x", "--tenant", "nobody"),
        ("credential", "add", "x", "--tenant", "a", "--network", "1.2.3.4/99"),
        ("credential", "revoke", "\udcff"),
        ("key", "import", "x.example", "--file", "/", "--selector", "sb1"),
        ("apply", "-f", "/"),
    ],
    ids=lambda words: " ".join(words)[:30].encode("ascii", "replace").decode(),
)
def test_bad_input_gets_a_sentence(config: Path, words: tuple[str, ...]) -> None:
    result = CliRunner(env={"SOBOO_CONFIG": str(config)}).invoke(app, list(words))
    assert isinstance(result.exception, (*EXPECTED, SystemExit)), result.exception
    assert result.exit_code != 0
    assert result.output or str(result.exception)


@pytest.mark.parametrize(
    "line", ["hourly_quota = 99999999999999999999", 'name = "a\\u0000b"']
)
def test_apply_takes_nothing_that_a_store_cannot_hold(
    typed: Run, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "t.toml"
    file.write_text(f'[[tenant]]\nid = "acme"\n{line}\n')
    with pytest.raises(EXPECTED, match=line.split()[0]):
        typed("apply", "-f", str(file))


@pytest.mark.parametrize("address", ["host:notaport", "h:5432:6"])
def test_a_store_url_that_is_none_is_refused_without_its_password(
    config: Path, address: str
) -> None:
    url = f"postgresql://u:s3kr3t@{address}/db"
    config.write_text(SETTINGS + f'[store]\nurl = "{url}"\n')
    with pytest.raises(StoreError, match="not of the form") as refusal:
        open_store(config)
    assert "s3kr3t" not in str(refusal.value)


@pytest.mark.parametrize(
    "words",
    [("serve",), ("credential", "add", "x", "--tenant", "acme"), ("key", "operator")],
)
def test_another_master_key_is_told_before_it_does_harm(
    typed: Run, config: Path, words: tuple[str, ...]
) -> None:
    typed("tenant", "add", "acme")
    typed("domain", "add", "acme.example", "--tenant", "acme")
    file = config.parent / "master.key"
    file.unlink()
    MasterKey.generate().write_new(file)
    with pytest.raises(SecretError, match="made with another master key"):
        typed(*words)
    typed("domain", "list")  # what needs no key asks for none


def test_a_word_that_is_none_of_several_is_said_plainly(typed: Run) -> None:
    said = typed("queue", "list", "--state", "nope", code=2)
    assert "'nope' is not one of 'queued'" in said
    assert "Value error" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tenant", "set", "acme"), "--name"),
        (("domain", "set", "a.com"), "--on-broken"),
    ],
)
def test_a_change_of_nothing_says_what_can_be_changed(
    typed: Run, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(FormatError, match=f"say what to change: {said}"):
        typed(*words)
