"""Customers' relays and mailboxes in both stores: sealed, bound, changed, forgotten."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select, update

from soboo_mta.identity.state import Mode
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.way_out import (
    PROVIDER_SERVERS,
    CustomerMailbox,
    MailboxAuth,
    MailboxProvider,
    RelayTls,
    Secret,
    WayParts,
    parse_server,
)
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.declared.apply import ChangeWayOut, apply_changes, plan_changes
from soboo_mta.tenancy.declared.tenants_file import load_tenants
from soboo_mta.tenancy.domains import domain_state, release_domain
from soboo_mta.tenancy.domains.relays import put_way_out, secret_of, ways_out
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from soboo_mta.tenancy.signing.keys import first_pairs
from tests.fakes.tenancy import (
    MAILBOX,
    MASTER,
    RELAY,
    RIVAL,
    small_pair,
    with_domain,
    with_tenants,
)

PASSWORD = "open sesame"
TOKEN = CustomerMailbox(
    mailbox=parse_mailbox("news@customer.com"),
    provider=MailboxProvider.MICROSOFT,
    auth=MailboxAuth.OAUTH,
    server=PROVIDER_SERVERS[MailboxProvider.MICROSOFT],
    oauth_client="app-1",
)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def sealed(store: Engine) -> bytes:
    return bytes(
        read_now(store, lambda at: at.scalars(select(schema.way_out.c.secret)).one())
    )


@pytest.mark.parametrize(
    ("mode", "way"), [(Mode.RELAY, RELAY), (Mode.MAILBOX, MAILBOX)]
)
def test_a_way_out_comes_back_as_it_went_in_and_its_secret_is_sealed(
    store: Engine, mode: Mode, way: object
) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=mode))
    assert made.way_out == way
    state = read_now(store, lambda at: domain_state(at, made.domain_id))
    assert state is not None
    assert state.settings == made
    opened = read_now(store, lambda at: secret_of(at, MASTER, made.domain_id))
    assert opened == Secret(PASSWORD)
    assert PASSWORD.encode() not in sealed(store)


def test_an_oauth_account_comes_back_with_its_application(store: Engine) -> None:
    made = write_now(
        store, lambda at: with_domain(at, mode=Mode.MAILBOX, way_out=TOKEN)
    )
    assert made.way_out == TOKEN


@pytest.mark.parametrize(
    "column", [{"host": "smtp.evil.example"}, {"port": 25}, {"user_name": "other"}]
)
def test_a_secret_does_not_open_for_another_server_or_user(
    store: Engine, column: dict[str, object]
) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.RELAY))
    write_now(store, lambda at: at.execute(update(schema.way_out).values(column)))
    with pytest.raises(SecretError, match="damaged"):
        read_now(store, lambda at: secret_of(at, MASTER, made.domain_id))


def test_a_secret_does_not_open_in_another_domains_row(store: Engine) -> None:
    write_now(store, lambda at: with_domain(at, mode=Mode.RELAY))
    stolen = sealed(store)
    other = write_now(store, lambda at: with_domain(at, RIVAL, mode=Mode.RELAY))

    def moved(at: Connection) -> None:
        theirs = schema.way_out.c.domain_id == other.domain_id
        at.execute(update(schema.way_out).where(theirs).values(secret=stolen))

    write_now(store, moved)
    with pytest.raises(SecretError, match="damaged"):
        read_now(store, lambda at: secret_of(at, MASTER, other.domain_id))


def test_another_master_key_opens_nothing(store: Engine) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.RELAY))
    with pytest.raises(SecretError, match="another master key"):
        read_now(store, lambda at: secret_of(at, MasterKey(bytes(32)), made.domain_id))


def test_a_secret_stays_where_tls_changes_and_goes_to_no_other_server(
    store: Engine,
) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.RELAY))

    def put(way: object, secret: Secret | None = None) -> None:
        write_now(
            store, lambda at: put_way_out(at, MASTER, made.domain_id, way, secret)
        )

    implicit = replace(RELAY, server=replace(RELAY.server, tls=RelayTls.IMPLICIT))
    put(implicit)
    kept = read_now(store, lambda at: secret_of(at, MASTER, made.domain_id))
    assert kept == Secret(PASSWORD)
    elsewhere = replace(RELAY, server=parse_server("smtp.other.example:587"))
    with pytest.raises(FormatError, match="goes nowhere else"):
        put(elsewhere)
    put(elsewhere, Secret("new"))
    found = read_now(store, lambda at: ways_out(at, [made.domain_id]))
    assert found == {made.domain_id: elsewhere}
    put(replace(elsewhere, user=None))
    assert read_now(store, lambda at: secret_of(at, MASTER, made.domain_id)) is None


def test_a_user_needs_a_password_and_a_password_a_user(store: Engine) -> None:
    with pytest.raises(FormatError, match="give the password for esp at smtp"):
        write_now(store, lambda at: with_domain(at, mode=Mode.RELAY, secret=None))
    alone = replace(RELAY, user=None)
    with pytest.raises(FormatError, match="needs the user name"):
        write_now(store, lambda at: with_domain(at, mode=Mode.RELAY, way_out=alone))


def test_a_released_domain_leaves_no_secret_behind(store: Engine) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.RELAY))
    write_now(store, lambda at: release_domain(at, made, now=9))
    rows = read_now(store, lambda at: at.execute(select(schema.way_out)).all())
    assert rows == []


@pytest.mark.parametrize(
    ("mode", "way", "fault"),
    [
        (Mode.RELAY, None, "mode relay needs the customer's relay"),
        (Mode.RELAY, MAILBOX, "mode relay needs the customer's relay"),
        (Mode.MAILBOX, RELAY, "mode mailbox needs the customer's mailbox"),
        (Mode.CNAME, RELAY, "for modes relay and mailbox, not cname"),
    ],
)
def test_a_way_out_is_its_modes(
    store: Engine, mode: Mode, way: object, fault: str
) -> None:
    with pytest.raises(FormatError, match=fault):
        write_now(store, lambda at: with_domain(at, mode=mode, way_out=way))


# ---- values


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("smtp.customer.com", "has no port"),
        ("smtp.customer.com:", "has no port"),
        ("smtp.customer.com:x", "has no port"),
        ("smtp.customer.com:0", "not a port"),
        ("smtp.customer.com:99999999", "not a port"),
        ("192.0.2.1:587", "is an address"),
        ("localhost:587", "not a fully qualified domain"),
        (":587", "not a fully qualified domain"),
    ],
)
def test_a_server_is_a_name_with_a_port(text: str, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        parse_server(text)


def test_the_port_says_how_tls_is_spoken() -> None:
    assert parse_server("smtp.customer.com:465").tls is RelayTls.IMPLICIT
    assert parse_server("smtp.customer.com:587").tls is RelayTls.STARTTLS
    assert parse_server("a.b:465", RelayTls.STARTTLS).tls is RelayTls.STARTTLS


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({}, "a mailbox has an address"),
        ({"mailbox": "news@customer.com"}, "one of google, microsoft, other"),
        ({"mailbox": "news@customer.com", "provider": "other"}, "host and port"),
        (
            {"mailbox": "a@b.c", "provider": "google", "host": "x.y:587"},
            "its own server",
        ),
        ({"mailbox": "a@b.c", "provider": "google", "auth": "oauth"}, "OAuth needs"),
        (
            {"mailbox": "a@b.c", "provider": "google", "oauth_client": "x"},
            "not for a password",
        ),
        (
            {
                "mailbox": "a@b.c",
                "provider": "other",
                "auth": "oauth",
                "host": "x.y:587",
            },
            "OAuth is for",
        ),
    ],
)
def test_what_does_not_make_a_mailbox_is_refused_with_what_lacks(
    parts: dict[str, str], fault: str
) -> None:
    typed: dict[str, object] = dict(parts)
    if "provider" in parts:
        typed["provider"] = MailboxProvider(parts["provider"])
    if "auth" in parts:
        typed["auth"] = MailboxAuth(parts["auth"])
    with pytest.raises(FormatError, match=fault):
        WayParts(**typed).account()  # type: ignore[arg-type]  # a test's shorthand


def test_a_secret_shows_as_stars_and_is_one_line() -> None:
    assert repr(Secret("x1y2")) == str(Secret("x1y2")) == "Secret(********)"
    for text in ("", "a\nb", "a\0", "x" * 9_000):
        with pytest.raises(FormatError):
            Secret(text)


# ---- tenants.toml

FILE = """
[[tenant]]
id = "acme"
[[tenant.domain]]
name = "customer.com"
mode = "relay"
[tenant.domain.relay]
host = "smtp.customer.com:587"
user = "esp"
secret_file = "relay.password"
"""


def planned(store: Engine, path: Path, text: str = FILE) -> tuple[object, ...]:
    path.write_text(text)
    file = load_tenants(path)
    changes = read_now(store, lambda at: plan_changes(at, file, master=lambda: MASTER))
    pairs = {
        one.new: first_pairs(one.new, small_pair)
        for one in changes
        if hasattr(one, "new")
    }
    write_now(store, lambda at: apply_changes(at, MASTER, changes, pairs, now=7))
    return changes


def test_the_file_sets_a_relay_up_changes_its_secret_and_then_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    secret, path = tmp_path / "relay.password", tmp_path / "tenants.toml"
    secret.write_text("one\n")
    secret.chmod(0o600)
    planned(engine, path)
    assert planned(engine, path) == ()
    secret.write_text("two\n")
    (change,) = planned(engine, path)
    assert isinstance(change, ChangeWayOut)
    domain_id = change.before.domain_id
    assert read_now(engine, lambda at: secret_of(at, MASTER, domain_id)) == Secret(
        "two"
    )
    (change,) = planned(engine, path, FILE.replace(":587", ":2525"))
    assert isinstance(change, ChangeWayOut)
    with pytest.raises(FormatError, match="goes nowhere else"):
        planned(engine, path, FILE.replace('secret_file = "relay.password"', ""))


def test_the_files_secret_may_be_in_the_environment(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILE.replace('secret_file = "relay.password"', 'secret_env = "RELAY_PW"')
    path = tmp_path / "tenants.toml"
    with pytest.raises(FormatError, match="RELAY_PW of the environment is not set"):
        planned(engine, path, text)
    monkeypatch.setenv("RELAY_PW", "three")
    planned(engine, path, text)
    assert planned(engine, path, text) == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('mode = "relay"', 'mode = "cname"'), "not cname"),
        (('esp"\nsecret', 'esp"\nsecret_env = "X"\nsecret'), "keep one"),
        (("host = ", "hsot = "), "did you mean host"),
        (('user = "esp"', "user = 5"), "string"),
        (("relay.password", "none.password"), "cannot read .*No such file"),
    ],
)
def test_the_files_faults_say_what_is_wrong(
    engine: Engine, tmp_path: Path, change: tuple[str, str], fault: str
) -> None:
    secret = tmp_path / "relay.password"
    secret.write_text("one")
    secret.chmod(0o600)
    assert change[0] in FILE
    with pytest.raises(FormatError, match=fault):
        planned(engine, tmp_path / "tenants.toml", FILE.replace(*change))


def test_a_secret_that_others_may_read_is_refused(
    engine: Engine, tmp_path: Path
) -> None:
    secret = tmp_path / "relay.password"
    secret.write_text("one")
    secret.chmod(0o644)
    with pytest.raises(FormatError, match="can be read by others: chmod 600"):
        planned(engine, tmp_path / "tenants.toml")
