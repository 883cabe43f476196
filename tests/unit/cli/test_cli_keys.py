"""`soboo-mta key`: what is listed, counted and brought along."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.events.attempt import plan_interned
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import the_domain
from tests.fakes.tenancy import NAME

Run = Callable[..., str]


@pytest.fixture
def run(config: Path) -> Run:
    def typed(
        *words: str, code: int = 0, typed: bytes | None = None, stderr: bool = True
    ) -> str:
        """Run a command; return what it printed. Our own errors are raised."""
        result = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words), input=typed
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output if stderr else result.stdout

    return typed


@pytest.fixture
def customer(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme")


@pytest.fixture
def by_hand(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme", "--mode", "manual")


def delivered(store: CliStore, *, number: int, key: int = 0) -> None:
    """One message was delivered, signed with that key of the domain."""

    def write(at: Connection) -> None:
        key_id = the_domain(at, NAME).settings.keys[key].key_id
        detail = json.dumps(
            {"signatures": [{"a": "x", "d": "x", "key": key_id, "s": "sb1"}]},
            separators=(",", ":"),
        )
        plan_id, statement = plan_interned(detail)
        perform(at, statement)
        at.execute(
            insert(schema.attempt).values(
                message_id=number,
                position=0,
                at=store.clock.unix_ms(),
                outcome="delivered",
                reason="reply",
                reply="250 2.0.0",
                host="mx",
                source="default",
                tls="",
                duration_ms=1,
                plan_id=plan_id,
            )
        )

    write_now(store.engine, write)


@pytest.mark.usefixtures("customer")
def test_an_emergency_ends_with_what_was_signed_with_the_old_key(
    run: Run, store: CliStore
) -> None:
    delivered(store, number=7)
    delivered(store, number=8)
    words = ("key", "rotate", "customer.com", "--emergency", "--yes", "--json")
    said = json.loads(run(*words, stderr=False))
    assert [one["selector"] for one in said["retired"]] == ["sb1"]
    assert [one["selector"] for one in said["revoked"]] == ["sb1"]
    assert [one["selector"] for one in said["activated"]] == ["sb2"]
    assert [one["selector"] for one in said["next"]] == ["sb3"]
    assert [one["delivered"] for one in said["signed"]] == [2]
    number = str(said["retired"][0]["key"])
    assert json.loads(run("key", "signed", number, "--json")) == said["signed"]
    other = str(said["activated"][0]["key"])
    assert "no attempt" in run("key", "signed", other)
    delivered(store, number=9, key=1)
    shown = run("key", "rotate", "customer.com", "--emergency", "--yes")
    assert "finds the key revoked" in shown


@pytest.mark.usefixtures("customer")
def test_json_is_for_an_emergency(run: Run) -> None:
    with pytest.raises(FormatError, match="--emergency alone"):
        run("key", "rotate", "customer.com", "--json")
    with pytest.raises(TenancyError, match="no key 99"):
        run("key", "signed", "99")


@pytest.mark.usefixtures("by_hand")
def test_by_hand_the_next_key_is_shown_to_paste_and_waited_for(run: Run) -> None:
    first = run("key", "rotate", "customer.com")
    assert "name   sb2._domainkey.customer.com" in first
    assert 'value  "v=DKIM1; k=rsa; p=' in first
    assert "was never verified: it waits for its first key too" in first
    again = run("key", "rotate", "customer.com")
    assert again == first  # the same key: what was pasted stays right
    listed = json.loads(run("key", "list", "customer.com", "--json"))
    assert [one["state"] for one in listed] == ["active", "next"]


@pytest.mark.usefixtures("by_hand")
def test_an_emergency_ends_the_wait_for_a_rotation_asked_for_before(
    run: Run, store: CliStore
) -> None:
    run("key", "rotate", "customer.com")
    run("key", "rotate", "customer.com", "--emergency", "--yes")
    wanted = schema.sending_domain.select()
    (row,) = read_now(store.engine, lambda at: at.execute(wanted).all())
    assert row.rotation_wanted_at is None


@pytest.mark.usefixtures("by_hand")
def test_what_a_rotation_waits_for_is_listed(run: Run, store: CliStore) -> None:
    run("key", "rotate", "customer.com")

    def verify(at: Connection) -> None:
        at.execute(schema.sending_domain.update().values(verified_at=1))

    write_now(store.engine, verify)
    listed = json.loads(run("key", "list", "customer.com", "--json"))
    assert [one["waits_for"] for one in listed] == [
        "",
        "selector sb2 to be published in customer.com",
    ]


@pytest.mark.usefixtures("customer")
def test_a_key_is_read_from_standard_input(run: Run, store: CliStore) -> None:
    words = ("key", "import", "customer.com", "--selector", "theirs", "--file", "-")
    shown = run(*words, typed=_pem(1_024))
    assert "selector theirs, next" in shown
    assert "fewer than 2048 bits" in shown
    with pytest.raises(FormatError, match="no PEM private key"):
        run(*words, typed=b"")
    settings = read_now(store.engine, lambda at: the_domain(at, NAME)).settings
    assert settings.keys[-1].selector == "theirs"


@pytest.mark.usefixtures("customer")
def test_a_file_that_others_may_read_is_warned_of(run: Run, tmp_path: Path) -> None:
    words = ("key", "import", "customer.com", "--selector", "theirs", "--file")
    path = tmp_path / "their.pem"
    with pytest.raises(FormatError, match=r"cannot read .*their\.pem: No such file"):
        run(*words, str(path))
    path.write_bytes(_pem(2_048))
    path.chmod(0o644)
    shown = run(*words, str(path))
    assert "can be read by others" in shown
    assert "fewer than" not in shown


@pytest.mark.usefixtures("customer")
def test_a_key_that_is_there_or_was_revoked_is_not_brought_again(run: Run) -> None:
    pem = _pem(1_024)
    words = ("key", "import", "customer.com", "--file", "-", "--selector")
    run(*words, "theirs", typed=pem)
    with pytest.raises(TenancyError, match="of the domain already"):
        run(*words, "another", typed=pem)
    listed = json.loads(run("key", "list", "--json"))
    (number,) = [one["key"] for one in listed if one["selector"] == "theirs"]
    run("key", "revoke", str(number))
    with pytest.raises(TenancyError, match="which was revoked"):
        run(*words, "another", typed=pem)


@pytest.mark.usefixtures("customer")
def test_an_audit_names_what_is_to_be_mended_and_ends_with_1(
    run: Run, store: CliStore
) -> None:
    assert "2048" in run("key", "audit", "--no-dns")
    silent = json.loads(run("key", "audit", "customer.com", "--json"))
    assert [one["published"] for one in silent] == [None, None]
    run(
        *("key", "import", "customer.com", "--selector", "theirs", "--file", "-"),
        typed=_pem(1_024),
    )
    shown = run("key", "audit", "customer.com", "--no-dns", code=1)
    assert "1024 bits: signers should use 2048" in shown
    found = json.loads(run("key", "audit", "--no-dns", "--json", code=1))
    weak = [each["weakness"] for one in found for each in one["findings"]]
    assert weak == ["weak"]

    def age(at: Connection) -> None:
        at.execute(
            schema.dkim_key.update()
            .where(schema.dkim_key.c.state == "active")
            .values(activated_at=store.clock.unix_ms() - 31 * 24 * 3600 * 1000)
        )

    write_now(store.engine, age)
    assert "it has signed for 31 days: 30 at most" in run(
        "key", "audit", "--no-dns", "--oldest", "30", code=1
    )
    with pytest.raises(TenancyError, match=r"no keys of other\.example"):
        run("key", "audit", "other.example")


def _pem(bits: int) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65_537, bits).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
