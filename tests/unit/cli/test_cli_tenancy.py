"""The commands about tenants, credentials, domains and keys, as an operator types them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError, find_login
from soboo_mta.tenancy.domains import DomainView, the_domain
from tests.fakes.tenancy import MASTER, NAME

Run = Callable[..., str]


@pytest.fixture
def run(config: Path) -> Run:
    def typed(*words: str, code: int = 0, answer: str | None = None) -> str:
        """Run a command; return what it printed. Our own errors are raised."""
        result = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words), input=answer
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output

    return typed


def view(store: CliStore) -> DomainView:
    return read_now(store.engine, lambda at: the_domain(at, NAME))


def slots(store: CliStore) -> dict[str, str]:
    return {str(one.selector): one.state.value for one in view(store).settings.keys}


def events(store: CliStore) -> list[str]:
    query = select(schema.event.c.kind).order_by(schema.event.c.id)
    return list(read_now(store.engine, lambda at: at.execute(query).scalars().all()))


def with_customer(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme")


# ---- tenants and credentials


def test_a_tenant_has_a_pool_that_the_settings_have(run: Run, config: Path) -> None:
    pool = '\n[[pools]]\nname = "vip"\nsources = ["default"]\n'
    config.write_text(config.read_text() + pool)
    run("tenant", "add", "acme", "--pool", "vip")
    assert json.loads(run("tenant", "list", "--json"))[0]["pool"] == "vip"
    run("tenant", "set", "acme", "--name", "Acme Ltd")
    assert json.loads(run("tenant", "list", "--json"))[0]["pool"] == "vip"
    with pytest.raises(FormatError, match="have default, vip"):
        run("tenant", "set", "acme", "--pool", "fast")
    file = config.parent / "tenants.toml"
    file.write_text('[[tenant]]\nid = "acme"\npool = "fast"\n')
    with pytest.raises(FormatError, match="there is no pool 'fast'"):
        run("apply", "-f", str(file))
    file.write_text('[[tenant]]\nid = "acme"\nname = "Acme Ltd"\n')
    assert "pool vip → none" in run("apply", "-f", str(file))
    run("tenant", "set", "acme", "--pool", "default")
    assert json.loads(run("tenant", "list", "--json"))[0]["pool"] is None


def test_a_tenant_is_added_changed_and_listed(run: Run) -> None:
    assert "there are no tenants" in run("tenant", "list")
    assert "next: soboo-mta credential add" in run(
        "tenant", "add", "acme", "--daily", "9"
    )
    run("tenant", "set", "acme", "--name", "Acme Ltd", "--hourly", "5", "--daily", "-1")
    listed = run("tenant", "list")
    assert "Acme Ltd" in listed
    assert "no limit" in listed
    (values,) = json.loads(run("tenant", "list", "--json"))
    assert (values["hourly_quota"], values["daily_quota"]) == (5, None)


def test_where_a_tenants_suppressed_recipients_fail_is_set(run: Run) -> None:
    run("tenant", "add", "acme")
    assert json.loads(run("tenant", "list", "--json"))[0]["suppression"] == "release"
    run("tenant", "set", "acme", "--suppression", "rcpt")
    run("tenant", "set", "acme", "--name", "Acme Ltd")
    assert json.loads(run("tenant", "list", "--json"))[0]["suppression"] == "rcpt"


def test_where_a_tenants_returns_go_is_set_and_shown(run: Run) -> None:
    run("tenant", "add", "acme")
    (values,) = json.loads(run("tenant", "list", "--json"))
    assert (values["returns"], values["returns_to"]) == ("home", None)
    run(
        "tenant", "set", "acme", "--returns", "events", "--returns-to", "b@acme.example"
    )
    (values,) = json.loads(run("tenant", "list", "--json"))
    assert (values["returns"], values["returns_to"]) == ("events", "b@acme.example")
    run("tenant", "set", "acme", "--returns-to", "")
    (values,) = json.loads(run("tenant", "list", "--json"))
    assert (values["returns"], values["returns_to"]) == ("events", None)


def test_which_streams_have_unsubscribe_addresses_is_set_and_shown(run: Run) -> None:
    run("tenant", "add", "acme")
    set_to: list[tuple[tuple[str, ...], list[str]]] = [
        (("--unsubscribe", "news", "--unsubscribe", "a-list"), ["a-list", "news"]),
        (("--name", "Acme Ltd"), ["a-list", "news"]),
        (("--unsubscribe", "*"), ["*"]),
        (("--unsubscribe", ""), []),
    ]
    for words, streams in set_to:
        run("tenant", "set", "acme", *words)
        (values,) = json.loads(run("tenant", "list", "--json"))
        assert values["unsubscribe"] == streams
    with pytest.raises(FormatError, match="is not a stream"):
        run("tenant", "set", "acme", "--unsubscribe", "No News")


def test_unsubscribe_addresses_that_nobody_listens_for_are_told(
    run: Run, config: Path
) -> None:
    run("tenant", "add", "acme")
    said = run("tenant", "set", "acme", "--unsubscribe", "news")
    assert "there are no [[return_listeners]] in these settings" in said
    listener = (
        '[[return_listeners]]\naddress = "127.0.0.1"\nport = 2526\ntls = "none"\n'
    )
    config.write_text(config.read_text() + listener)
    said = run("tenant", "set", "acme", "--unsubscribe", "news")
    assert "return_listeners" not in said


def test_no_unsubscribe_address_is_asked_for_that_ends_too_soon(
    run: Run, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + '\n[retention]\nkeep = "29d"\n')
    run("tenant", "add", "acme")
    with pytest.raises(FormatError, match=r"keep, and that is 29d: set it to 30d or"):
        run("tenant", "set", "acme", "--unsubscribe", "news")
    path = tmp_path / "tenants.toml"
    path.write_text('[[tenant]]\nid = "acme"\nunsubscribe = ["news"]\n')
    with pytest.raises(FormatError, match="set it to 30d or more"):
        run("apply", "-f", str(path))


def test_case_159_where_a_tenants_reports_go_is_set_shown_and_refused(run: Run) -> None:
    run("tenant", "add", "acme", "--report-address", "ops@acme.example")
    assert "ops@acme.example" in run("tenant", "list")
    run("tenant", "set", "acme", "--no-reports")
    (values,) = json.loads(run("tenant", "list", "--json"))
    assert (values["reports"], values["report_address"]) == (False, "ops@acme.example")
    run("tenant", "set", "acme", "--reports", "--report-address", "")
    assert "to its own domains" in run("tenant", "list")
    with pytest.raises(FormatError, match="has no domain"):
        run("tenant", "set", "acme", "--report-address", "ops")


def test_a_suspended_tenants_gate_is_closed_and_opened_again(
    run: Run, store: CliStore
) -> None:
    run("tenant", "add", "acme")
    query = select(schema.gate.c.scope, schema.gate.c.subject, schema.gate.c.reason)

    def gates() -> list[tuple[str, ...]]:
        return [
            tuple(r) for r in read_now(store.engine, lambda at: at.execute(query).all())
        ]

    run("tenant", "suspend", "acme")
    run("tenant", "suspend", "acme")
    assert gates() == [("tenant", "acme", "tenant-suspended")]
    run("tenant", "resume", "acme")
    assert gates() == []
    assert events(store) == ["tenant-added", "tenant-suspended", "tenant-resumed"]


def test_an_unknown_tenant_is_an_error_that_says_what_to_do(run: Run) -> None:
    with pytest.raises(TenancyError, match="add one with `tenant add`"):
        run("tenant", "suspend", "nobody")


def test_a_secret_is_shown_once_and_is_the_right_one(run: Run, store: CliStore) -> None:
    run("tenant", "add", "acme")
    shown = run(
        "credential", "add", "app", "--tenant", "acme", "--network", "10.0.0.0/8"
    )
    found = re.search(r"[a-z2-7]{32}", shown)
    assert found
    login = read_now(store.engine, lambda at: find_login(at, "app"))
    assert login is not None
    assert login[1] == MASTER.credential_hash("app", found.group())
    listed = run("credential", "list")
    assert found.group() not in listed
    assert "10.0.0.0/8" in listed
    assert "never" in listed


def test_a_credential_is_renewed_and_revoked(run: Run) -> None:
    (first,) = json.loads(run("credential", "add", "app", "--operator", "--json"))
    (second,) = json.loads(run("credential", "renew", "app", "--json"))
    assert first["tenant"] is None
    assert first["secret"] != second["secret"]
    assert "revoked app" in run("credential", "revoke", "app")
    listed = json.loads(run("credential", "list", "--json"))
    assert all(one["revoked_at"] is not None for one in listed)
    assert all("secret" not in one for one in listed)


def test_certificates_are_bound_to_a_credential_and_unbound(
    run: Run, store: CliStore
) -> None:
    run("credential", "add", "app", "--operator")
    fingerprint = ":".join(["AB"] * 32)
    run("credential", "bind", "app", f"SHA256:{fingerprint}")
    run("credential", "bind", "app", "Mailer.acme.example")
    (listed,) = json.loads(run("credential", "list", "--json"))
    assert listed["certificates"] == ["mailer.acme.example", "sha256:" + "ab" * 32]
    assert "mailer.acme.example" in run("credential", "list")
    assert "unbound app" in run("credential", "unbind", "app", "mailer.acme.example")
    with pytest.raises(TenancyError, match="is not bound to app"):
        run("credential", "unbind", "app", "mailer.acme.example")
    assert events(store).count("credential-changed") == 3


@pytest.mark.parametrize("more", [[], ["--tenant", "acme", "--operator"]])
def test_a_credential_has_one_owner(run: Run, more: list[str]) -> None:
    with pytest.raises(FormatError, match="say whose"):
        run("credential", "add", "app", *more)


# ---- domains


def test_adding_a_domain_shows_what_to_publish(run: Run, store: CliStore) -> None:
    run("tenant", "add", "acme")
    shown = run("domain", "add", "customer.com", "--tenant", "acme")
    token = view(store).settings.token
    for name in ("bounce", "sb1._domainkey", "sb2._domainkey", "sb3._domainkey"):
        assert f"{name}.customer.com." in shown
    assert f"{token}.b.esp.example." in shown
    assert "soboo-mta domain verify customer.com" in shown
    listed = run("domain", "list")
    assert "customer.com" in listed
    assert "not looked at yet" in listed


def test_records_come_as_table_zone_and_json(run: Run, store: CliStore) -> None:
    with_customer(run)
    token = view(store).settings.token
    zone = run("domain", "records", "customer.com", "--format", "zone")
    assert f"bounce.customer.com. IN CNAME {token}.b.esp.example." in zone
    records = json.loads(
        run("domain", "records", "customer.com", "--no-dns", "--format", "json")
    )
    assert {one["type"] for one in records} >= {"CNAME", "TXT"}
    every = json.loads(run("domain", "records", "--all", "--format", "json"))
    assert every == records
    ours = run("domain", "records", "--operator", "--format", "zone")
    p = view(store).settings.keys[0].p
    assert f"sb1.{token}.k.esp.example. IN TXT" in ours
    assert p[:60] in ours


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("csv", "bounce.customer.com,CNAME,3600,"),
        ("terraform --provider route53", 'resource "aws_route53_record"'),
        ("octodns", "'sb1._domainkey':"),
        ("octodns --zone-apex customer.com", "'bounce':"),
        ("email --page https://s.example/x", "https://s.example/x"),
    ],
)
def test_records_come_in_the_forms_of_tools_and_people(
    run: Run, words: str, shown: str
) -> None:
    with_customer(run)
    assert shown in run("domain", "records", "customer.com", "--format", *words.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("customer.com --format terraform", "needs --provider cloudflare"),
        ("customer.com --format csv --provider route53", "terraform alone"),
        ("customer.com --format email --page x", "no URL"),
        ("--all --format email", "say a DOMAIN"),
        ("--all --format octodns", "say a DOMAIN"),
    ],
)
def test_a_form_says_what_it_lacks(run: Run, words: str, said: str) -> None:
    with_customer(run)
    with pytest.raises(FormatError, match=said):
        run("domain", "records", *words.split())


@pytest.mark.parametrize("words", [[], ["customer.com", "--all"]])
def test_records_of_what_has_to_be_said(run: Run, words: list[str]) -> None:
    with_customer(run)
    with pytest.raises(FormatError, match="say which"):
        run("domain", "records", *words)


def test_a_silent_dns_verifies_nothing_and_says_so(run: Run, store: CliStore) -> None:
    with_customer(run)
    shown = run("domain", "verify", "customer.com", code=1)
    assert "unknown" in shown
    assert "nothing proves yet" in shown
    assert view(store).verified_at is None
    checks = json.loads(run("domain", "list", "--json"))[0]["records"]
    assert {one["status"] for one in checks} == {"unknown"}


def test_assume_verified_is_refused_where_mail_can_reach_the_world(run: Run) -> None:
    run("tenant", "add", "acme")
    with pytest.raises(TenancyError, match="assume_verified is for test harnesses"):
        run("domain", "add", "customer.com", "--tenant", "acme", "--assume-verified")


def test_records_say_that_dns_could_not_be_read(run: Run) -> None:
    with_customer(run)
    shown = run("domain", "records", "customer.com")
    assert "DNS could not be read" in shown
    assert "v=DMARC1; p=none" in shown
    assert "DNS could not" not in run("domain", "records", "customer.com", "--no-dns")


def test_a_zone_is_not_asked_for_before_it_has_name_servers(
    run: Run, config: Path
) -> None:
    run("tenant", "add", "acme")
    words = ("domain", "add", "acme.example", "--tenant", "acme", "--mode", "zone")
    with pytest.raises(TenancyError, match=r"set \[publish\] name_servers"):
        run(*words)

    servers = '[publish]\nname_servers = ["8.8.8.8", "8.8.4.4"]\n'
    config.write_text(config.read_text() + servers)
    said = run(*words)
    assert "em.acme.example" in said
    assert ".n.esp.example." in said


def test_a_domain_is_changed_and_released_after_a_question(
    run: Run, store: CliStore
) -> None:
    with_customer(run)
    run(
        "domain", "set", "customer.com", "--on-broken", "refuse", "--sign-with-operator"
    )
    settings = view(store).settings
    assert (settings.on_broken, settings.sign_with_operator) == ("refuse", True)
    run("domain", "release", "customer.com", answer="n\n", code=1)
    assert view(store).settings == settings
    run("domain", "release", "customer.com", "--yes")
    with pytest.raises(TenancyError, match="domain list"):
        view(store)
    assert events(store)[-1] == "domain-released"


# ---- keys


def worker(store: CliStore, *, acknowledged: int, lease: int = 60_000) -> None:
    def write(at: Connection) -> None:
        at.execute(
            insert(schema.worker).values(
                number=3,
                epoch=1,
                lease_until=int(store.clock.monotonic() * 1_000) + lease,
                started_at=0,
                host="relay1",
                process=77,
                acknowledged=acknowledged,
            )
        )

    write_now(store.engine, write)


def test_an_emergency_swaps_and_revokes(run: Run, store: CliStore) -> None:
    with_customer(run)
    shown = run("key", "rotate", "customer.com", "--emergency", "--yes")
    assert "no next key was seen in DNS" in shown  # also where nobody is asked
    assert "selector sb2: signs once it is seen in DNS" in shown
    assert "selector sb1: revoked" in shown
    assert slots(store) == {"sb1": "revoked", "sb2": "active", "sb3": "next"}
    assert events(store)[-3:] == ["key-activated", "key-revoked", "key-created"]
    listed = run("key", "list", "customer.com")
    assert "revoked" in listed
    assert len(json.loads(run("key", "list", "--json"))) == 3


def test_a_customer_who_publishes_keys_by_hand_is_shown_them(run: Run) -> None:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme", "--mode", "manual")
    shown = run("key", "rotate", "customer.com", "--emergency", "--yes")
    assert "publish now: soboo-mta domain records customer.com\n" in shown


def test_an_emergency_asks_where_no_next_key_was_seen(
    run: Run, store: CliStore
) -> None:
    with_customer(run)
    shown = run("key", "rotate", "customer.com", "--emergency", answer="n\n", code=1)
    assert "no next key was seen in DNS" in shown
    assert slots(store) == {"sb1": "active", "sb2": "next"}


def test_nothing_is_revoked_before_every_live_worker_acknowledged(
    run: Run, store: CliStore
) -> None:
    with_customer(run)
    worker(store, acknowledged=0)
    words = ("key", "rotate", "customer.com", "--emergency", "--yes", "--wait", "0.2")
    shown = run(*words, code=1)
    assert "worker 3, process 77 on relay1" in shown
    number = view(store).settings.keys[0].key_id
    assert f"soboo-mta key revoke {number}" in shown
    assert slots(store) == {"sb1": "retiring", "sb2": "active"}
    assert "nothing was revoked" in run(
        "key", "revoke", str(number), "--wait", "0", "--yes", code=1
    )
    acknowledge = schema.worker.update().values(acknowledged=1_000)
    write_now(store.engine, lambda at: at.execute(acknowledge))
    asked = run("key", "revoke", str(number), answer="n\n", code=1)
    assert f"key {number}: retired, and still published for mail under way" in asked
    assert slots(store) == {"sb1": "retiring", "sb2": "active"}
    revoked = run("key", "revoke", str(number), answer="y\n")
    assert "publish now: soboo-mta domain records --operator" in revoked
    assert slots(store) == {"sb1": "revoked", "sb2": "active", "sb3": "next"}


def test_a_dead_worker_is_not_waited_for(run: Run, store: CliStore) -> None:
    with_customer(run)
    worker(store, acknowledged=0, lease=-1)
    run("key", "rotate", "customer.com", "--emergency", "--yes", "--wait", "0")
    assert slots(store)["sb1"] == "revoked"


def test_a_planned_rotation_waits_for_the_next_key_to_be_seen(run: Run) -> None:
    with_customer(run)
    with pytest.raises(TenancyError, match=r"domain verify customer\.com"):
        run("key", "rotate", "customer.com")


def test_the_operators_keys_are_made_once_and_rotate(run: Run) -> None:
    assert "selector sb1, active" in run("key", "operator")
    with pytest.raises(TenancyError, match="has keys already"):
        run("key", "operator")
    words = ("key", "rotate", "--operator", "--emergency")
    assert "for good?" in run(*words, answer="n\n", code=1)
    assert "selector sb1: revoked" in run(*words, "--yes")
    planned = run("key", "rotate", "--operator")
    assert "publish now: soboo-mta domain records --operator" in planned
    with pytest.raises(FormatError, match="say whose"):
        run("key", "rotate")


def test_a_key_is_brought_along(run: Run, store: CliStore, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    with_customer(run)
    pem = rsa.generate_private_key(65_537, 1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path = tmp_path / "their.pem"
    path.write_bytes(pem)
    words = ("key", "import", "customer.com", "--selector", "theirs", "--file")
    assert "selector theirs, next" in run(*words, str(path))
    assert slots(store)["theirs"] == "next"
    with pytest.raises(FormatError, match=r"nowhere\.pem"):
        run(*words, str(tmp_path / "nowhere.pem"))


# ---- apply

TENANTS = """
[[tenant]]
id = "acme"
[[tenant.credential]]
user_name = "app"
[[tenant.domain]]
name = "customer.com"
"""


def test_apply_shows_its_changes_and_the_second_time_none(
    run: Run, store: CliStore, tmp_path: Path
) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS)
    assert "+ tenant acme" in run("apply", "-f", str(path), "--dry-run")
    shown = run("apply", "-f", str(path))
    for line in ("+ tenant acme", "+ credential app of acme", "+ domain customer.com"):
        assert line in shown
    assert re.search(r"[a-z2-7]{32}", shown)
    assert "nothing to change" in run("apply", "-f", str(path))
    assert events(store) == ["credential-added", "tenant-added", "domain-added"]


def test_apply_as_json_carries_the_secrets(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS)
    done = json.loads(run("apply", "-f", str(path), "--json"))
    assert len(done["changes"]) == 3
    assert len(done["credentials"][0]["secret"]) == 32
    again = json.loads(run("apply", "-f", str(path), "--json"))
    assert again == {"changes": [], "credentials": []}


def test_apply_says_what_differs_and_keeps_the_gate(
    run: Run, store: CliStore, tmp_path: Path
) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text('[[tenant]]\nid = "acme"\n')
    run("apply", "-f", str(path))
    path.write_text('[[tenant]]\nid = "acme"\nsuspended = true\ndaily_quota = 5\n')
    shown = run("apply", "-f", str(path))
    assert "~ tenant acme: suspended no → yes, daily_quota none → 5" in shown
    gates = read_now(store.engine, lambda at: at.execute(select(schema.gate)).all())
    assert len(gates) == 1


def test_apply_refuses_to_assume_where_mail_can_reach_the_world(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS + "assume_verified = true\n")
    with pytest.raises(TenancyError, match="test harnesses"):
        run("apply", "-f", str(path))
