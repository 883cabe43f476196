"""`tenants.toml`: read with care, compared with the store, carried out once."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from soboo_mta.identity.state import OnBroken
from soboo_mta.mail.errors import FormatError
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import (
    NewCredential,
    generation,
    list_credentials,
    list_tenants,
    revoke_credential,
)
from soboo_mta.tenancy.declared.apply import (
    AddCredential,
    AddDomain,
    AddTenant,
    Change,
    ChangeCredential,
    ChangeDomain,
    ChangeTenant,
    RevokeCredential,
    apply_changes,
    plan_changes,
)
from soboo_mta.tenancy.declared.tenants_file import load_tenants
from soboo_mta.tenancy.domains import list_domains
from soboo_mta.tenancy.signing.keys import first_pairs
from tests.fakes.tenancy import MASTER, small_pair

FILE = """
[[tenant]]
id = "acme"
name = "Acme Ltd"
hourly_quota = 1000

[[tenant.credential]]
user_name = "acme-app"
networks = ["192.0.2.0/24"]

[[tenant.domain]]
name = "customer.com"
on_broken = "refuse"

[[tenant]]
id = "rival"

[[operator_credential]]
user_name = "esp-app"
"""


def planned(
    store: Engine, tmp_path: Path, text: str, *, prune: bool = False
) -> tuple[Change, ...]:
    path = tmp_path / "tenants.toml"
    path.write_text(text)
    file = load_tenants(path)
    return read_now(store, lambda at: plan_changes(at, file, prune=prune))


def run(store: Engine, changes: tuple[Change, ...]) -> tuple[NewCredential, ...]:
    pairs = {
        one.new: first_pairs(one.new, small_pair)
        for one in changes
        if isinstance(one, AddDomain)
    }
    return write_now(store, lambda at: apply_changes(at, MASTER, changes, pairs, now=7))


def fault(tmp_path: Path, text: str) -> str:
    path = tmp_path / "tenants.toml"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        load_tenants(path)
    return str(caught.value)


def test_an_empty_store_becomes_what_the_file_says(
    engine: Engine, tmp_path: Path
) -> None:
    changes = planned(engine, tmp_path, FILE)
    kinds = [type(one) for one in changes]
    assert kinds == [AddTenant, AddTenant, AddCredential, AddCredential, AddDomain]
    made = run(engine, changes)
    assert {one.credential.user_name for one in made} == {"acme-app", "esp-app"}
    acme, rival = read_now(engine, list_tenants)
    assert (acme.name, acme.hourly_quota, rival.name) == ("Acme Ltd", 1000, "rival")
    (view,) = read_now(engine, list_domains)
    assert view.settings.on_broken is OnBroken.REFUSE
    assert len(view.settings.keys) == 2


def test_a_second_run_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    before = read_now(engine, generation)
    assert planned(engine, tmp_path, FILE) == ()
    assert run(engine, ()) == ()
    assert read_now(engine, generation) == before


def test_what_differs_is_changed_and_nothing_else(
    engine: Engine, tmp_path: Path
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    text = (
        FILE.replace("1000", "2000")
        .replace("192.0.2.0/24", "198.51.100.0/24")
        .replace('"refuse"', '"hold"')
    )
    changes = planned(engine, tmp_path, text)
    assert [type(one) for one in changes] == [
        ChangeTenant,
        ChangeCredential,
        ChangeDomain,
    ]
    assert run(engine, changes) == ()
    assert planned(engine, tmp_path, text) == ()


def test_what_the_file_does_not_name_is_left_alone(
    engine: Engine, tmp_path: Path
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    assert planned(engine, tmp_path, "") == ()


def test_pruning_suspends_and_revokes_and_deletes_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    changes = planned(engine, tmp_path, '[[tenant]]\nid = "rival"', prune=True)
    assert [type(one) for one in changes] == [
        ChangeTenant,
        RevokeCredential,
        RevokeCredential,
    ]
    run(engine, changes)
    assert [one.suspended for one in read_now(engine, list_tenants)] == [True, False]
    assert all(one.revoked_at == 7 for one in read_now(engine, list_credentials))
    assert len(read_now(engine, list_domains)) == 1
    assert planned(engine, tmp_path, '[[tenant]]\nid = "rival"', prune=True) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('on_broken = "refuse"', 'mode = "manual"', "mode of customer.com is cname"),
        ('on_broken = "refuse"', 'bounce_label = "b"', "bounce_label of customer.com"),
        ('on_broken = "refuse"', "ed25519 = true", "ed25519 of customer.com is False"),
        (
            'on_broken = "refuse"',
            'selectors = ["a", "b", "c"]',
            "selectors of customer.com are sb1, sb2, sb3",
        ),
        ("esp-app", "acme-app2", ""),
    ],
)
def test_what_a_customers_dns_was_built_on_is_not_changed(
    engine: Engine, tmp_path: Path, old: str, new: str, says: str
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    text = FILE.replace(old, new)
    if not says:
        assert len(planned(engine, tmp_path, text)) == 1
        return
    with pytest.raises(FormatError, match=says):
        planned(engine, tmp_path, text)


def test_a_user_name_does_not_move_to_another_tenant(
    engine: Engine, tmp_path: Path
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    text = '[[operator_credential]]\nuser_name = "acme-app"'
    with pytest.raises(FormatError, match="tenant acme's"):
        planned(engine, tmp_path, text)


def test_a_revoked_credential_does_not_come_back_by_itself(
    engine: Engine, tmp_path: Path
) -> None:
    run(engine, planned(engine, tmp_path, FILE))
    write_now(engine, lambda at: revoke_credential(at, "acme-app", now=9))
    with pytest.raises(FormatError, match="acme-app is revoked and stays so"):
        planned(engine, tmp_path, FILE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[tenants]]", "did you mean tenant?"),
        ('[[tenant]]\nid = "a"\nhourly_quot = 1', "did you mean hourly_quota?"),
        (
            '[[tenant]]\nid = "a"\n[[tenant.domain]]\nname = "a.example"\nonbroken = ""',
            "did you mean on_broken?",
        ),
        ('[[tenant]]\nid = "a"\n[[tenant.credential]]\nuser = "a"', "user_name"),
        ('[[tenant]]\nid = "A B"', "is not a tenant id"),
        ("[[tenant]]\nid = 7", "text in quotes"),
        ('[[tenant]]\nid = "a"\nweight = 0', "greater than or equal to 1"),
        ('[[tenant]]\nid = "a"\n[[tenant.domain]]\nname = "localhost"', "localhost"),
        (
            '[[operator_credential]]\nuser_name = "a"\nnetworks = ["10.0.0.1/8"]',
            "is not a network",
        ),
        ('[[tenant]]\nid = "a"\n[[tenant]]\nid = "a"', "tenant a stands twice"),
        (
            '[[operator_credential]]\nuser_name = "a"\n'
            '[[operator_credential]]\nuser_name = "a"',
            "user name a stands twice",
        ),
        ("not toml", "is not TOML"),
    ],
)
def test_a_fault_in_the_file_is_said_with_its_place(
    tmp_path: Path, text: str, says: str
) -> None:
    assert says in fault(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"tenants\.toml"):
        load_tenants(tmp_path / "tenants.toml")


def test_where_returns_go_is_applied_and_changed(
    engine: Engine, tmp_path: Path
) -> None:
    keys = 'returns = "events"\nreturns_to = "o@r.example"'
    text = FILE.replace('id = "rival"', f'id = "rival"\n{keys}')
    run(engine, planned(engine, tmp_path, text))
    assert planned(engine, tmp_path, text) == ()
    (change,) = planned(engine, tmp_path, text.replace("events", "home"))
    assert isinstance(change, ChangeTenant)
    assert (change.before.returns, change.after.returns) == ("events", "home")
    assert str(change.before.returns_to) == "o@r.example"
    with pytest.raises(FormatError, match="returns"):
        planned(engine, tmp_path, text.replace("events", "away"))


def test_case_159_where_reports_go_is_applied_and_changed(
    engine: Engine, tmp_path: Path
) -> None:
    text = FILE.replace('id = "rival"', 'id = "rival"\nreport_address = "o@r.example"')
    run(engine, planned(engine, tmp_path, text))
    assert planned(engine, tmp_path, text) == ()
    (change,) = planned(engine, tmp_path, text.replace("o@r", "p@r"))
    assert isinstance(change, ChangeTenant)
    assert str(change.before.report_address) == "o@r.example"
    assert str(change.after.report_address) == "p@r.example"
    with pytest.raises(FormatError, match="report_address"):
        planned(engine, tmp_path, text.replace("o@r.example", "nobody"))


def test_where_suppressed_recipients_fail_is_applied(
    engine: Engine, tmp_path: Path
) -> None:
    text = FILE.replace('id = "rival"', 'id = "rival"\nsuppression = "rcpt"')
    run(engine, planned(engine, tmp_path, text))
    assert planned(engine, tmp_path, text) == ()
    with pytest.raises(FormatError, match="suppression"):
        planned(engine, tmp_path, text.replace('"rcpt"', '"never"'))


def test_streams_with_unsubscribe_addresses_are_applied_and_changed(
    engine: Engine, tmp_path: Path
) -> None:
    text = FILE.replace('id = "rival"', 'id = "rival"\nunsubscribe = ["news", "*"]')
    run(engine, planned(engine, tmp_path, text))
    assert planned(engine, tmp_path, text) == ()
    (change,) = planned(engine, tmp_path, text.replace(', "*"', ""))
    assert isinstance(change, ChangeTenant)
    assert (change.before.unsubscribe, change.after.unsubscribe) == (
        {"news", "*"},
        {"news"},
    )
    for wrong in ('"news"', '["No News"]', "[7]", str([f"s{n}" for n in range(101)])):
        with pytest.raises(FormatError, match="unsubscribe"):
            planned(engine, tmp_path, text.replace('["news", "*"]', wrong))
