"""Sending domains in both stores: who owns a name, and what a check changes."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, select

from soboo_mta.identity.state import (
    DomainSettings,
    KeyState,
    Mode,
    OnBroken,
    Purpose,
    RecordStatus,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import domains
from soboo_mta.tenancy.accounts import TenancyError, generation
from soboo_mta.tenancy.domains import NewDomain
from tests.fakes.tenancy import (
    ACME,
    NAME,
    RIVAL,
    facts,
    seen,
    with_domain,
    with_tenants,
)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def look(
    at: Connection, of: DomainSettings, *, owned: bool = True, **values: object
) -> bool:
    plain: dict[str, object] = {
        "checks": [seen(RecordStatus.GOOD if owned else RecordStatus.MISSING)],
        "facts": facts(),
        "next_check_at": 100,
        "changed": False,
        "now": 50,
    }
    return domains.store_check(at, of.domain_id, owned=owned, **(plain | values))  # type: ignore[arg-type]


def owner(store: Engine) -> str | None:
    state = read_now(store, lambda at: domains.owner_state(at, NAME))
    return state.settings.tenant if state else None


def test_a_domain_comes_back_as_it_went_in(store: Engine) -> None:
    made = write_now(
        store,
        lambda at: with_domain(
            at,
            selectors=(DnsName("x1"), DnsName("x2"), DnsName("x3")),
            bounce_label="returns",
            ed25519=True,
            on_broken=OnBroken.REFUSE,
            sign_with_operator=True,
        ),
    )
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    assert state.settings == made
    assert made.bounce_domain == "returns.customer.com"
    assert made.selectors == ("x1", "x2", "x3", "sb4")
    assert (made.on_broken, made.sign_with_operator) == (OnBroken.REFUSE, True)
    assert not state.was_verified
    assert state.facts is None


def test_a_tenant_has_a_domain_once_and_another_may_have_it_too(store: Engine) -> None:
    one = write_now(store, with_domain)
    two = write_now(store, lambda at: with_domain(at, RIVAL))
    assert one.token != two.token
    with pytest.raises(TenancyError, match="already"):
        write_now(store, with_domain)


@pytest.mark.parametrize(
    "values",
    [
        {"bounce_label": "Bounce"},
        {"bounce_label": "a b"},
        {"bounce_label": ""},
        {"selectors": (DnsName("a"), DnsName("a"), DnsName("b"))},
        {"selectors": (DnsName("a"), DnsName("b"))},
        {"selectors": (DnsName("sb4"), DnsName("b"), DnsName("c")), "ed25519": True},
    ],
)
def test_labels_that_can_not_work_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        NewDomain(tenant=ACME, name=NAME, **values)  # type: ignore[arg-type]


def test_nobody_owns_a_name_before_the_first_proof(store: Engine) -> None:
    made = write_now(store, with_domain)
    assert owner(store) is None
    assert not write_now(store, lambda at: look(at, made, owned=False))
    assert owner(store) is None
    assert write_now(store, lambda at: look(at, made))
    assert owner(store) == ACME


def test_a_proof_is_news_once(store: Engine) -> None:
    made = write_now(store, with_domain)
    assert write_now(store, lambda at: look(at, made))
    before = read_now(store, generation)
    assert not write_now(store, lambda at: look(at, made))
    assert read_now(store, generation) == before


def test_ownership_outlives_broken_records(store: Engine) -> None:
    made = write_now(store, with_domain)
    write_now(store, lambda at: look(at, made))
    write_now(store, lambda at: look(at, made, owned=False))
    assert owner(store) == ACME


def test_a_second_tenant_does_not_get_a_name_while_the_first_proof_stands(
    store: Engine,
) -> None:
    first = write_now(store, with_domain)
    second = write_now(store, lambda at: with_domain(at, RIVAL))
    write_now(store, lambda at: look(at, first))
    assert not write_now(store, lambda at: look(at, second))
    assert owner(store) == ACME


def test_an_unanswered_look_takes_nobodys_name_away(store: Engine) -> None:
    first = write_now(store, with_domain)
    second = write_now(store, lambda at: with_domain(at, RIVAL))
    write_now(store, lambda at: look(at, first))
    silent = seen(RecordStatus.UNKNOWN)
    write_now(store, lambda at: look(at, first, owned=False, checks=[silent]))
    assert not write_now(store, lambda at: look(at, second))
    assert owner(store) == ACME


@pytest.mark.parametrize(
    "left",
    [
        seen(RecordStatus.MISSING),
        seen(RecordStatus.WRONG),
        seen(RecordStatus.UNKNOWN, good_at=None),
        seen(RecordStatus.GOOD, Purpose.SPF),  # the same for everybody: no proof
        seen(RecordStatus.GOOD, Purpose.DMARC),
    ],
)
def test_a_name_goes_over_when_the_first_proof_fell(
    store: Engine, left: domains.checks.RecordCheck
) -> None:
    first = write_now(store, with_domain)
    second = write_now(store, lambda at: with_domain(at, RIVAL))
    write_now(store, lambda at: look(at, first))
    write_now(store, lambda at: look(at, first, owned=False, checks=[left]))
    assert write_now(store, lambda at: look(at, second))
    assert owner(store) == RIVAL
    states = read_now(store, lambda at: domains.tenant_states(at, [(NAME, ACME)]))
    assert not states[NAME, ACME].was_verified


def test_case_050_a_name_is_never_anothers_for_a_tenant_and_no_subdomain_counts(
    store: Engine,
) -> None:
    made = write_now(store, with_domain)
    write_now(store, lambda at: look(at, made))
    sub = Domain(f"mail.{NAME}")
    wanted = [(NAME, RIVAL), (sub, ACME)]
    assert read_now(store, lambda at: domains.tenant_states(at, wanted)) == {}
    assert read_now(store, lambda at: domains.owner_state(at, sub)) is None


def test_an_assumed_domain_counts_until_somebody_proves_the_name(store: Engine) -> None:
    write_now(store, lambda at: with_domain(at, assume_verified=True))
    assert owner(store) == ACME
    second = write_now(store, lambda at: with_domain(at, RIVAL))
    write_now(store, lambda at: look(at, second))
    assert owner(store) == RIVAL
    states = read_now(store, lambda at: domains.tenant_states(at, [(NAME, ACME)]))
    assert not states[NAME, ACME].was_verified


def test_checks_and_facts_come_back_as_they_were_seen(store: Engine) -> None:
    made = write_now(store, with_domain)
    checks = (seen(), seen(RecordStatus.WRONG, Purpose.SELECTOR))[:1]
    known = facts(made.keys[0].key_id)
    write_now(store, lambda at: look(at, made, checks=checks, facts=known))
    found = read_now(store, lambda at: domains.checks_of(at, made.domain_id))
    assert found == (replace(checks[0], next_check_at=100),)  # the domain's
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    assert state.facts == known


def test_what_is_recommended_alone_is_not_required_of_a_domain(store: Engine) -> None:
    made = write_now(store, with_domain)
    for is_required in (True, False):
        one = seen(RecordStatus.MISSING, Purpose.SELECTOR)
        one = replace(one, record=replace(one.record, is_required=is_required))
        write_now(store, lambda at, one=one: look(at, made, checks=[one]))
        (kept,) = read_now(store, lambda at: domains.checks_of(at, made.domain_id))
        assert kept.record.is_required is is_required


def test_a_look_that_changed_nothing_raises_no_generation(store: Engine) -> None:
    made = write_now(store, with_domain)
    before = read_now(store, generation)
    write_now(store, lambda at: look(at, made, owned=False, changed=False))
    assert read_now(store, generation) == before
    write_now(store, lambda at: look(at, made, owned=False, changed=True))
    assert read_now(store, generation) == before + 1


def test_domains_are_due_by_their_time_and_no_more_than_asked(store: Engine) -> None:
    names = [Domain(f"d{number}.example") for number in range(3)]
    made = [write_now(store, lambda at, n=n: with_domain(at, name=n)) for n in names]
    for number, one in enumerate(made):
        due_at = 100 - number * 10
        write_now(
            store,
            lambda at, one=one, due_at=due_at: look(at, one, next_check_at=due_at),
        )

    def due(now: int, limit: int = 9) -> list[str]:
        found = read_now(
            store, lambda at: domains.domains_due(at, now=now, limit=limit)
        )
        return [str(view.settings.name) for view in found]

    assert due(79) == []
    assert due(95) == ["d2.example", "d1.example"]
    assert due(200, limit=1) == ["d2.example"]


def test_a_domain_can_be_made_due_at_once(store: Engine) -> None:
    made = write_now(store, with_domain)
    write_now(store, lambda at: look(at, made, next_check_at=10_000))
    write_now(store, lambda at: domains.check_soon(at, made.domain_id))
    assert len(read_now(store, lambda at: domains.domains_due(at, now=1, limit=5))) == 1


def test_a_released_domain_is_gone_and_its_keys_destroyed(store: Engine) -> None:
    made = write_now(store, with_domain)
    write_now(store, lambda at: look(at, made))
    write_now(store, lambda at: domains.release_domain(at, made, now=9))
    assert owner(store) is None
    assert read_now(store, lambda at: domains.domain_state(at, made.domain_id)) is None
    assert read_now(store, domains.list_domains) == ()
    assert read_now(store, lambda at: domains.domains_due(at, now=999, limit=5)) == ()
    rows = read_now(store, lambda at: at.execute(select(schema.dkim_key)).all())
    assert {row.private_key for row in rows} == {None}
    assert {row.state for row in rows} == {"revoked"}


def test_case_092_a_domain_that_comes_back_has_nothing_of_the_old_one(
    store: Engine,
) -> None:
    old = write_now(store, with_domain)
    write_now(store, lambda at: look(at, old))
    write_now(store, lambda at: domains.release_domain(at, old, now=9))
    new = write_now(store, with_domain)
    assert new.token != old.token
    assert new.domain_id != old.domain_id
    assert {key.p for key in new.keys}.isdisjoint(key.p for key in old.keys)
    assert owner(store) is None


def test_a_look_that_ends_after_the_release_changes_nothing(store: Engine) -> None:
    old = write_now(store, with_domain)
    write_now(store, lambda at: domains.release_domain(at, old, now=9))
    write_now(store, with_domain)
    assert not write_now(store, lambda at: look(at, old))
    assert owner(store) is None


def test_a_name_of_several_tenants_has_to_be_said_with_its_tenant(
    store: Engine,
) -> None:
    write_now(store, with_domain)
    write_now(store, lambda at: with_domain(at, RIVAL))
    with pytest.raises(TenancyError, match="acme, rival"):
        read_now(store, lambda at: domains.the_domain(at, NAME))
    view = read_now(store, lambda at: domains.the_domain(at, NAME, tenant=RIVAL))
    assert view.settings.tenant == RIVAL
    with pytest.raises(TenancyError, match="no sending domain"):
        read_now(store, lambda at: domains.the_domain(at, Domain("other.example")))


@pytest.mark.parametrize(
    ("mode", "states"),
    [
        (Mode.CNAME, [KeyState.ACTIVE, KeyState.NEXT]),
        (Mode.ZONE, [KeyState.ACTIVE, KeyState.NEXT]),
        (Mode.RELAY, [KeyState.ACTIVE, KeyState.NEXT]),
        (Mode.MANUAL, [KeyState.ACTIVE]),
        (Mode.MAILBOX, []),
    ],
)
def test_each_mode_begins_with_its_keys(
    store: Engine, mode: Mode, states: list[KeyState]
) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=mode))
    assert [key.state for key in made.keys] == states
