"""Which keys are due to give way, and which retired ones are needed no more."""

import pytest
from sqlalchemy import Connection, Engine, update

from soboo_mta.identity.state import DomainSettings, KeyState, Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import domains, keys
from soboo_mta.tenancy.rotation import (
    DAY_MS,
    RotationDue,
    drained,
    rotations_due,
    set_schedule,
    want_rotation,
)
from soboo_mta.tenancy.slots import DRAIN_MS
from tests.fakes.tenancy import (
    MASTER,
    RIVAL,
    facts,
    seen,
    small_pair,
    with_domain,
    with_tenants,
)

MADE = 1  # unix ms, as tests.fakes.tenancy makes keys
OTHER = Domain("other.example")


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def verified(store: Engine, **values: object) -> DomainSettings:
    def write(at: Connection) -> DomainSettings:
        made = with_domain(at, **values)  # type: ignore[arg-type]  # shorthand
        domains.store_check(
            at,
            made.domain_id,
            checks=[seen()],
            facts=facts(*(key.key_id for key in made.keys)),
            owned=True,
            next_check_at=0,
            changed=True,
            now=5,
        )
        return made

    return write_now(store, write)


def due(store: Engine, now: int, every_days: int = 90) -> tuple[RotationDue, ...]:
    return read_now(
        store,
        lambda at: rotations_due(at, now=now, every_days=every_days, limit=10),
    )


def test_a_key_gives_way_when_it_has_signed_for_long_enough(store: Engine) -> None:
    made = verified(store)
    assert due(store, MADE + 90 * DAY_MS - 1) == ()
    (found,) = due(store, MADE + 90 * DAY_MS)
    assert found.state.settings.domain_id == made.domain_id
    assert found.active == made.keys[0]
    assert found.ready == made.keys[1]


@pytest.mark.parametrize(
    ("own", "every_days", "days"), [(None, 30, 30), (10, 90, 10), (10, 0, 10)]
)
def test_a_domains_own_schedule_comes_before_the_settings(
    store: Engine, own: int | None, every_days: int, days: int
) -> None:
    made = verified(store)
    write_now(store, lambda at: set_schedule(at, made.domain_id, own))
    assert not due(store, MADE + days * DAY_MS - 1, every_days)
    assert due(store, MADE + days * DAY_MS, every_days)


@pytest.mark.parametrize(("own", "every_days"), [(0, 90), (None, 0)])
def test_zero_days_is_never_by_itself(
    store: Engine, own: int | None, every_days: int
) -> None:
    made = verified(store)
    write_now(store, lambda at: set_schedule(at, made.domain_id, own))
    assert not due(store, MADE + 9_999 * DAY_MS, every_days)
    write_now(store, lambda at: want_rotation(at, made.domain_id, 7))
    assert not due(store, 6, every_days)
    assert due(store, 7, every_days)


def test_in_mode_manual_somebody_has_to_ask(store: Engine) -> None:
    made = verified(store, mode=Mode.MANUAL)
    late = MADE + 9_999 * DAY_MS
    assert not due(store, late)
    write_now(store, lambda at: set_schedule(at, made.domain_id, 90))
    (found,) = due(store, late)
    assert found.ready is None
    ready = write_now(
        store,
        lambda at: keys.prepare_next(
            at, MASTER, made.domain_id, small_pair(), now=late
        ),
    )
    (found,) = due(store, late)
    assert found.ready == ready


def test_what_was_never_verified_or_was_released_is_not_due(store: Engine) -> None:
    write_now(store, with_domain)
    given_up = verified(store, owner=RIVAL, name=OTHER)
    write_now(store, lambda at: domains.release_domain(at, given_up, now=9))
    assert not due(store, MADE + 9_999 * DAY_MS)


def test_the_longest_due_comes_first_and_no_more_than_wanted(store: Engine) -> None:
    first = verified(store)
    second = verified(store, owner=RIVAL, name=OTHER)
    column = schema.dkim_key.c
    write_now(
        store,
        lambda at: at.execute(
            update(schema.dkim_key)
            .where(column.domain_id == second.domain_id, column.state == "active")
            .values(activated_at=0)
        ),
    )
    late = MADE + 90 * DAY_MS
    found = [one.state.settings.domain_id for one in due(store, late)]
    assert found == [second.domain_id, first.domain_id]
    (one,) = read_now(
        store, lambda at: rotations_due(at, now=late, every_days=90, limit=1)
    )
    assert one.state.settings.domain_id == second.domain_id


def test_a_retired_key_is_drained_when_no_signature_of_it_counts(store: Engine) -> None:
    made = verified(store)
    at_rotation = 1_000
    done = write_now(
        store,
        lambda at: keys.rotate(
            at, MASTER, made.domain_id, small_pair(), now=at_rotation
        ),
    )
    over = at_rotation + DRAIN_MS

    def found(now: int) -> tuple[int, ...]:
        return read_now(store, lambda at: drained(at, now=now, limit=10))

    assert found(over - 1) == ()
    assert found(over) == (done.retired[0].key_id,)
    write_now(
        store,
        lambda at: keys.revoke(
            at, MASTER, done.retired[0].key_id, small_pair(), now=over
        ),
    )
    assert found(over) == ()
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    states = [key.state for key in state.settings.keys]
    assert states == [KeyState.REVOKED, KeyState.ACTIVE, KeyState.NEXT]
