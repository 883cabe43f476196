"""Which keys are due to give way, and which retired ones are needed no more."""

import pytest
from sqlalchemy import Connection, Engine, update

from soboo_mta.identity.state import DomainSettings, KeyState, Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import domains
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.signing import keys
from soboo_mta.tenancy.signing.rotation import (
    RotationDue,
    drained,
    outlived,
    rotations_due,
    set_schedule,
    want_rotation,
    withdraw,
)
from soboo_mta.tenancy.signing.slots import DAY_MS
from tests.fakes.tenancy import (
    DRAIN_MS,
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
            at, MASTER, made.domain_id, small_pair(), now=late, drain=DRAIN_MS
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
            at, MASTER, made.domain_id, small_pair(), now=at_rotation, drain=DRAIN_MS
        ),
    )
    over = at_rotation + DRAIN_MS

    def found(now: int) -> tuple[int, ...]:
        return read_now(
            store, lambda at: drained(at, now=now, drain=DRAIN_MS, limit=10)
        )

    assert found(over - 1) == ()
    assert found(over) == (done.retired[0].key_id,)
    write_now(
        store,
        lambda at: keys.revoke(
            at, MASTER, done.retired[0].key_id, small_pair(), now=over, drain=DRAIN_MS
        ),
    )
    assert found(over) == ()
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    states = [key.state for key in state.settings.keys]
    assert states == [KeyState.REVOKED, KeyState.ACTIVE, KeyState.NEXT]


def test_the_operators_retired_key_is_drained_too(store: Engine) -> None:
    pairs = [small_pair(), small_pair()]

    def write(at: Connection) -> keys.Rotation:
        keys.add_operator_keys(at, MASTER, pairs, now=1)
        return keys.rotate(at, MASTER, None, small_pair(), now=50, drain=DRAIN_MS)

    done = write_now(store, write)
    over = 50 + DRAIN_MS
    found = read_now(store, lambda at: drained(at, now=over, drain=DRAIN_MS, limit=9))
    assert found == (done.retired[0].key_id,)


def test_an_empty_p_is_withdrawn_when_no_signature_counts_and_its_slot_is_as_new(
    store: Engine,
) -> None:
    made = verified(store)

    def revoke_first(at: Connection) -> keys.Revocation:
        old = keys.rotate_emergency(at, made.domain_id, now=10).retired[0]
        return keys.revoke(at, MASTER, old.key_id, small_pair(), now=20, drain=DRAIN_MS)

    gone = write_now(store, revoke_first).revoked
    over = 20 + DRAIN_MS

    def found(now: int) -> tuple[int, ...]:
        return read_now(
            store, lambda at: outlived(at, now=now, drain=DRAIN_MS, limit=10)
        )

    assert found(over - 1) == ()
    assert found(over) == (gone.key_id,)
    write_now(store, lambda at: withdraw(at, gone, made.domain_id))
    assert found(over) == ()
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    assert [str(key.selector) for key in state.settings.keys] == ["sb2", "sb3"]
    with pytest.raises(TenancyError, match="revoked already"):
        write_now(
            store,
            lambda at: keys.revoke(
                at, MASTER, gone.key_id, small_pair(), now=over, drain=DRAIN_MS
            ),
        )

    def revoke_second(at: Connection) -> keys.Revocation:
        old = keys.rotate_emergency(at, made.domain_id, now=over).retired[0]
        return keys.revoke(
            at, MASTER, old.key_id, small_pair(), now=over, drain=DRAIN_MS
        )

    done = write_now(store, revoke_second)
    assert done.successor is not None
    assert done.successor.selector == "sb1"


def test_right_after_a_planned_rotation_and_an_emergency_there_is_a_slot_for_another(
    store: Engine,
) -> None:
    """The slot of the planned one still holds a key that mail under way needs."""
    made = verified(store)

    def write(at: Connection) -> list[str]:
        keys.rotate(at, MASTER, made.domain_id, small_pair(), now=10, drain=DRAIN_MS)
        found = []
        for now in (20, 30, 40):
            old = keys.rotate_emergency(at, made.domain_id, now=now).retired[0]
            done = keys.revoke(
                at, MASTER, old.key_id, small_pair(), now=now + 1, drain=DRAIN_MS
            )
            assert done.successor is not None
            found.append(str(done.successor.selector))
        return found

    assert write_now(store, write) == ["sb2", "sb3", "sb2"]
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    states = {str(key.selector): key.state.value for key in state.settings.keys}
    assert states == {"sb1": "retiring", "sb2": "next", "sb3": "active"}
