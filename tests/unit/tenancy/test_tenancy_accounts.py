"""Tenants and credentials in both stores."""

from ipaddress import ip_address

import pytest
from sqlalchemy import Engine, select

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import accounts
from soboo_mta.tenancy.accounts import TenancyError
from tests.fakes.tenancy import ACME, MASTER, tenant, with_tenants


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def add(
    store: Engine, user_name: str = "app", **values: object
) -> accounts.NewCredential:
    plain: dict[str, object] = {"tenant": ACME, "user_name": user_name, "now": 1}
    return write_now(
        store,
        lambda at: accounts.add_credential(at, MASTER, **(plain | values)),  # type: ignore[arg-type]
    )


def test_a_tenant_comes_back_as_it_went_in(store: Engine) -> None:
    changed = tenant(name="Acme Ltd", weight=3, hourly_quota=10, daily_quota=20)
    write_now(store, lambda at: accounts.change_tenant(at, changed))
    assert read_now(store, lambda at: accounts.find_tenant(at, ACME)) == changed


def test_a_tenant_is_added_once(store: Engine) -> None:
    with pytest.raises(TenancyError, match="exists already"):
        write_now(store, lambda at: accounts.add_tenant(at, tenant(), now=1))


def test_an_unknown_tenant_is_said_to_be_unknown(store: Engine) -> None:
    nobody = tenant(TenantId("nobody"))
    with pytest.raises(TenancyError, match="no tenant nobody"):
        write_now(store, lambda at: accounts.change_tenant(at, nobody))


@pytest.mark.parametrize("text", ["", "Acme", "a b", "-a", "a-", "a" * 64, "a\n"])
def test_a_tenant_id_is_a_plain_label(text: str) -> None:
    with pytest.raises(FormatError):
        accounts.parse_tenant_id(text)


def test_every_change_raises_the_generation(store: Engine) -> None:
    generations = [read_now(store, accounts.generation)]
    steps = (
        lambda at: accounts.change_tenant(at, tenant(suspended=True)),
        lambda at: accounts.add_credential(
            at, MASTER, tenant=None, user_name="one", now=1
        ),
        lambda at: accounts.change_credential(at, "one", networks=(), label="x"),
        lambda at: accounts.renew_secret(at, MASTER, "one", now=2),
        lambda at: accounts.revoke_credential(at, "one", now=3),
    )
    for step in steps:
        write_now(store, step)
        generations.append(read_now(store, accounts.generation))
    assert generations == sorted(set(generations))


def test_a_failed_change_raises_nothing(store: Engine) -> None:
    before = read_now(store, accounts.generation)
    with pytest.raises(TenancyError):
        write_now(store, lambda at: accounts.revoke_credential(at, "none", now=1))
    assert read_now(store, accounts.generation) == before


def test_the_secret_is_nowhere_in_the_store(store: Engine) -> None:
    made = add(store)
    row = read_now(store, lambda at: at.execute(select(schema.credential)).one())
    assert made.secret not in repr(tuple(row))
    assert row.secret_hash == MASTER.credential_hash("app", made.secret)
    assert made.secret not in repr(made)


def test_a_user_name_is_given_once(store: Engine) -> None:
    add(store)
    with pytest.raises(TenancyError, match="taken"):
        add(store, tenant=None)


def test_a_credential_is_limited_to_its_networks(store: Engine) -> None:
    nets = accounts.parse_networks(["192.0.2.0/24", "2001:db8::/32"])
    credential = add(store, networks=nets).credential
    assert credential.networks == nets
    assert credential.admits(ip_address("192.0.2.9"))
    assert credential.admits(ip_address("2001:db8::9"))
    assert not credential.admits(ip_address("198.51.100.1"))
    assert add(store, "anywhere").credential.admits(ip_address("198.51.100.1"))


def test_a_network_with_host_bits_is_refused_in_words() -> None:
    with pytest.raises(FormatError, match=r"192\.0\.2\.1/24"):
        accounts.parse_networks(["192.0.2.1/24"])


def test_a_revoked_credential_stays_revoked_and_its_name_taken(store: Engine) -> None:
    add(store)
    write_now(store, lambda at: accounts.revoke_credential(at, "app", now=9))
    with pytest.raises(TenancyError, match="revoked already"):
        write_now(store, lambda at: accounts.revoke_credential(at, "app", now=10))
    with pytest.raises(TenancyError, match="taken"):
        add(store)


def test_a_renewed_credential_is_another_and_the_old_one_dead(store: Engine) -> None:
    old = add(store, label="billing")
    new = write_now(store, lambda at: accounts.renew_secret(at, MASTER, "app", now=9))
    assert new.secret != old.secret
    assert new.credential.user_name == "app"
    assert new.credential.label == "billing"
    old_id, new_id = old.credential.credential_id, new.credential.credential_id
    both = [old_id, new_id]
    assert read_now(store, lambda at: accounts.live_of(at, both)).keys() == {new_id}


def test_a_renewed_name_can_not_be_logged_in_with_under_its_old_row() -> None:
    assert not accounts.is_user_name("app~1")


@pytest.mark.parametrize("text", ["", "a b", "a\0b", "~a", "é", "a" * 129, "a\n"])
def test_a_user_name_is_plain(text: str) -> None:
    with pytest.raises(FormatError):
        accounts.parse_user_name(text)


def test_last_uses_are_stored_in_one_statement(store: Engine) -> None:
    one, two = add(store, "one").credential, add(store, "two").credential
    statement = accounts.used([(one.credential_id, 7), (two.credential_id, 8)])
    write_now(
        store,
        lambda at: at.execute(statement.clause, [dict(row) for row in statement.rows]),
    )
    found = read_now(store, accounts.list_credentials)
    assert [one.last_used_at for one in found] == [7, 8]


# ---- client certificates


def bind(store: Engine, user_name: str, name: str) -> None:
    write_now(store, lambda at: accounts.bind_certificate(at, user_name, name))


def certified(store: Engine, *names: str) -> list[str]:
    found = read_now(store, lambda at: accounts.find_certified(at, names))
    return [one.user_name for one in found]


def test_a_certificate_is_found_by_any_of_its_names_in_their_order(
    store: Engine,
) -> None:
    add(store, "app")
    add(store, "other")
    bind(store, "app", "mail.acme.example")
    bind(store, "other", "sha256:" + "0" * 64)
    assert certified(store, "nobody.example") == []
    assert certified(store, "x.example", "mail.acme.example") == ["app"]
    both = ("sha256:" + "0" * 64, "mail.acme.example")
    assert certified(store, *both) == ["other", "app"]


def test_a_certificate_has_one_credential_while_that_lives(store: Engine) -> None:
    add(store, "app")
    add(store, "other")
    bind(store, "app", "mail.acme.example")
    with pytest.raises(TenancyError, match="bound to app already"):
        bind(store, "other", "mail.acme.example")
    write_now(store, lambda at: accounts.revoke_credential(at, "app", now=2))
    assert certified(store, "mail.acme.example") == []
    with pytest.raises(TenancyError, match="app is revoked"):
        bind(store, "app", "x.example")
    bind(store, "other", "mail.acme.example")
    assert certified(store, "mail.acme.example") == ["other"]


def test_certificates_stay_with_the_user_name_when_its_secret_is_renewed(
    store: Engine,
) -> None:
    before = add(store, "app").credential
    bind(store, "app", "mail.acme.example")
    after = write_now(store, lambda at: accounts.renew_secret(at, MASTER, "app", now=2))
    (found,) = read_now(
        store, lambda at: accounts.find_certified(at, ("mail.acme.example",))
    )
    assert found.credential_id == after.credential.credential_id
    assert found.credential_id != before.credential_id


@pytest.mark.parametrize(
    "text",
    ["", " ", "sha256:", "sha256:12", "a\nb", "x" * 300, "junk", "a b", "@b.example"],
)
def test_what_names_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="sha256"):
        accounts.parse_certificate_name(text)


def test_a_name_that_could_be_bound_once_can_still_be_unbound(store: Engine) -> None:
    add(store, "app")
    bind(store, "app", "junk")
    name = accounts.certificate_key(" JUNK")
    write_now(store, lambda at: accounts.unbind_certificate(at, "app", name))
    assert not read_now(store, lambda at: accounts.find_certified(at, (name,)))
