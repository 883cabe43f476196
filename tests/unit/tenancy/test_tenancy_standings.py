"""How domains stand, in both stores: what goes in comes back, and is counted."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, event

from soboo_mta.identity.standing import (
    Capability,
    Condition,
    RecordName,
    Standing,
    subject_of,
)
from soboo_mta.identity.state import DomainSettings, Fault
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.ports import RecordType
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import domains
from tests.fakes.tenancy import RIVAL, with_domain, with_tenants

SIGNS = Condition(
    subject=Capability.SIGN,
    standing=Standing.AT_RISK,
    since=1_700_000_000_123,
    told=Standing.VERIFIED,
    is_required=True,
    turns=(1, 1_700_000_000_123),
    is_flapping=True,
    cause="sb1 leads to x.example, not to us",
    fault=Fault.SPLIT_SERVERS,
)
RECORD = Condition(
    subject=RecordName(DnsName("sb1._domainkey.customer.com"), RecordType.CNAME),
    standing=Standing.VERIFIED,
    since=9,
    told=Standing.VERIFIED,
    is_required=True,
)
OWNED = replace(RECORD, subject=Capability.OWNERSHIP)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


@pytest.fixture
def made(store: Engine) -> DomainSettings:
    return write_now(store, with_domain)


def keep(store: Engine, made: DomainSettings, *after: Condition) -> None:
    def write(at: Connection) -> None:
        before = domains.conditions_of(at, made.domain_id)
        domains.store_conditions(
            at,
            made.domain_id,
            before=before,
            after=after,
        )

    write_now(store, write)


def kept(store: Engine, made: DomainSettings) -> tuple[Condition, ...]:
    return read_now(store, lambda at: domains.conditions_of(at, made.domain_id))


def whole(store: Engine, made: DomainSettings) -> Standing | None:
    view = read_now(store, lambda at: domains.view_of(at, made.domain_id))
    assert view is not None
    return view.standing


def test_what_goes_in_comes_back_capabilities_first(
    store: Engine, made: DomainSettings
) -> None:
    assert kept(store, made) == ()
    assert whole(store, made) is None
    keep(store, made, RECORD, SIGNS, OWNED)
    assert kept(store, made) == (OWNED, SIGNS, RECORD)
    assert whole(store, made) is Standing.AT_RISK


def test_what_is_no_longer_there_is_forgotten_and_the_rest_changes(
    store: Engine, made: DomainSettings
) -> None:
    keep(store, made, RECORD, SIGNS)
    calm = replace(SIGNS, standing=Standing.VERIFIED, turns=(), is_flapping=False)
    keep(store, made, calm)
    assert kept(store, made) == (calm,)
    assert whole(store, made) is Standing.VERIFIED


def test_what_did_not_move_costs_no_write(store: Engine, made: DomainSettings) -> None:
    keep(store, made, RECORD, SIGNS)
    said: list[str] = []
    event.listen(
        store, "before_cursor_execute", lambda *a: said.append(a[2].split()[0])
    )
    keep(store, made, SIGNS, RECORD)
    assert not {"INSERT", "UPDATE", "DELETE"} & set(said)


def test_a_released_domain_stands_no_more(store: Engine, made: DomainSettings) -> None:
    keep(store, made, SIGNS)
    write_now(store, lambda at: domains.release_domain(at, made, now=5))
    assert kept(store, made) == ()


def test_domains_are_counted_by_how_they_stand(
    store: Engine, made: DomainSettings
) -> None:
    write_now(store, lambda at: with_domain(at, RIVAL))
    write_now(
        store,
        lambda at: with_domain(at, name=Domain("lab.example"), assume_verified=True),
    )
    gone = write_now(store, lambda at: with_domain(at, name=Domain("gone.example")))
    write_now(store, lambda at: domains.release_domain(at, gone, now=5))
    keep(store, made, SIGNS)
    assert read_now(store, domains.standing_counts) == {
        Standing.VERIFIED: 0,
        Standing.PENDING: 1,
        Standing.STALLED: 0,
        Standing.AT_RISK: 1,
        Standing.BROKEN: 0,
    }


@pytest.mark.parametrize("subject", [*Capability, RECORD.subject])
def test_a_subject_is_read_as_it_is_written(subject: Capability | RecordName) -> None:
    assert subject_of(str(subject)) == subject


@pytest.mark.parametrize("text", ["can_fly", "a.example FOO", ""])
def test_other_text_is_no_subject(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        subject_of(text)
