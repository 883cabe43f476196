"""The life of DKIM keys in both stores."""

import pytest
from sqlalchemy import Connection, Engine, select

from soboo_mta.formats.keys import KeyPair
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import KeyId
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy import domains
from soboo_mta.tenancy.accounts import TenancyError, generation
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from soboo_mta.tenancy.signing import keys
from soboo_mta.tenancy.signing.slots import open_signing_keys
from tests.fakes.tenancy import (
    DRAIN_MS,
    MASTER,
    facts,
    small_pair,
    with_domain,
    with_tenants,
)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


@pytest.fixture
def made(store: Engine) -> DomainSettings:
    return write_now(store, with_domain)


def now_of(store: Engine, made: DomainSettings) -> dict[str, tuple[str, KeyState]]:
    """Selector → (p, state) of the keys as they are."""
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    return {str(key.selector): (key.p, key.state) for key in state.settings.keys}


def states(store: Engine, made: DomainSettings) -> dict[str, str]:
    return {slot: key[1].value for slot, key in now_of(store, made).items()}


def observe(store: Engine, made: DomainSettings, *usable: PublicKey) -> None:
    def write(at: Connection) -> None:
        domains.store_check(
            at,
            made.domain_id,
            checks=(),
            facts=facts(*(key.key_id for key in usable)),
            owned=True,
            next_check_at=0,
            changed=True,
            now=1,
        )

    write_now(store, write)


def emergency(store: Engine, made: DomainSettings, *, now: int) -> keys.Rotation:
    return write_now(
        store, lambda at: keys.rotate_emergency(at, made.domain_id, now=now)
    )


def revoke(
    store: Engine, key: PublicKey, *, now: int, pair: KeyPair | None = None
) -> keys.Revocation:
    fresh = pair or small_pair(key.algorithm)
    return write_now(
        store,
        lambda at: keys.revoke(at, MASTER, key.key_id, fresh, now=now, drain=DRAIN_MS),
    )


def test_a_cname_domain_begins_with_a_key_that_signs_and_one_ready(
    store: Engine, made: DomainSettings
) -> None:
    assert states(store, made) == {"sb1": "active", "sb2": "next"}


def test_ed25519_stands_beside_in_its_own_slot(store: Engine) -> None:
    made = write_now(store, lambda at: with_domain(at, ed25519=True))
    assert states(store, made) == {"sb1": "active", "sb2": "next", "sb4": "active"}
    assert made.keys[-1].algorithm is Algorithm.ED25519


def test_a_stored_key_signs_and_its_private_half_does_not_show(
    store: Engine, made: DomainSettings
) -> None:
    pair = small_pair()
    operator = write_now(
        store, lambda at: keys.add_operator_keys(at, MASTER, [pair], now=1)
    )
    key_id = operator[0].key_id
    opened = read_now(store, lambda at: open_signing_keys(at, MASTER, [key_id]))
    assert len(opened[key_id].key.sign(bytes(32))) == 128
    rows = read_now(
        store,
        lambda at: at.execute(select(schema.dkim_key.c.private_key)).scalars().all(),
    )
    assert all(pair.private[40:72] not in row for row in rows)


def test_a_private_half_moved_to_another_domains_row_does_not_open(
    store: Engine, made: DomainSettings
) -> None:
    one, two = made.keys

    def move(at: Connection) -> None:
        key = schema.dkim_key.c
        private = at.execute(
            select(key.private_key).where(key.id == one.key_id)
        ).scalar_one()
        at.execute(
            schema.dkim_key.update()
            .where(key.id == two.key_id)
            .values(private_key=private)
        )

    write_now(store, move)
    with pytest.raises(SecretError):
        read_now(store, lambda at: open_signing_keys(at, MASTER, [two.key_id]))


def test_another_master_key_opens_nothing(store: Engine, made: DomainSettings) -> None:
    other = MasterKey.generate()
    with pytest.raises(SecretError, match="another master key"):
        read_now(store, lambda at: open_signing_keys(at, other, [made.keys[0].key_id]))


def test_case_068_an_emergency_lets_the_next_key_sign_and_keeps_the_old_one_published(
    store: Engine, made: DomainSettings
) -> None:
    before = read_now(store, generation)
    done = emergency(store, made, now=10)
    assert states(store, made) == {"sb1": "retiring", "sb2": "active"}
    assert [key.selector for key in done.activated] == ["sb2"]
    assert [key.selector for key in done.retired] == ["sb1"]
    assert done.generation == read_now(store, generation) == before + 1


def test_a_revoked_key_loses_its_private_half_and_leaves_a_next_one(
    store: Engine, made: DomainSettings
) -> None:
    old = emergency(store, made, now=10).retired[0]
    done = revoke(store, old, now=20)
    assert states(store, made) == {"sb1": "revoked", "sb2": "active", "sb3": "next"}
    assert done.successor is not None
    assert done.successor.selector == "sb3"
    assert read_now(store, lambda at: open_signing_keys(at, MASTER, [old.key_id])) == {}


def test_emergency_after_emergency_finds_a_slot_and_an_empty_one_rests(
    store: Engine, made: DomainSettings
) -> None:
    seen_slots = []
    for turn in range(1, 7):
        old = emergency(store, made, now=turn * 100).retired[0]
        done = revoke(store, old, now=turn * 100 + 50)
        assert done.successor is not None
        assert done.successor.selector != old.selector
        now = now_of(store, made)
        assert sorted(state for _, state in now.values()) == [
            "active",
            "next",
            "revoked",
        ]
        assert now[str(old.selector)][1] is KeyState.REVOKED
        seen_slots.append(str(done.successor.selector))
    assert seen_slots == ["sb3", "sb1", "sb2", "sb3", "sb1", "sb2"]


def test_an_emergency_without_a_next_key_still_stops_the_active_one(
    store: Engine,
) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.MANUAL))
    old = emergency(store, made, now=10).retired[0]
    assert states(store, made) == {"sb1": "retiring"}
    done = revoke(store, old, now=20)
    assert done.successor is not None
    assert states(store, made) == {"sb1": "revoked", "sb2": "active"}


def test_an_emergency_takes_ed25519_out_too_and_its_slot_gets_a_new_key(
    store: Engine,
) -> None:
    made = write_now(store, lambda at: with_domain(at, ed25519=True))
    retired = emergency(store, made, now=10).retired
    assert [key.selector for key in retired] == ["sb1", "sb4"]
    done = revoke(store, retired[1], now=20)
    assert done.successor is not None
    assert done.successor.selector == "sb4"
    assert done.successor.p != retired[1].p
    assert now_of(store, made)["sb4"] == (done.successor.p, KeyState.ACTIVE)


def test_an_emergency_needs_an_active_key(store: Engine) -> None:
    made = write_now(store, lambda at: with_domain(at, mode=Mode.MAILBOX))
    with pytest.raises(TenancyError, match="no key is active"):
        emergency(store, made, now=1)


def test_the_key_that_signs_is_not_revoked(store: Engine, made: DomainSettings) -> None:
    with pytest.raises(TenancyError, match="signs now"):
        revoke(store, made.keys[0], now=1)
    old = emergency(store, made, now=10).retired[0]
    revoke(store, old, now=20)
    with pytest.raises(TenancyError, match="revoked already"):
        revoke(store, old, now=30)


def test_a_next_key_that_leaked_is_replaced(
    store: Engine, made: DomainSettings
) -> None:
    done = revoke(store, made.keys[1], now=5)
    assert done.successor is not None
    assert states(store, made) == {"sb1": "active", "sb2": "revoked", "sb3": "next"}


def rotate(store: Engine, made: DomainSettings, *, now: int) -> keys.Rotation:
    pair = small_pair()
    return write_now(
        store,
        lambda at: keys.rotate(
            at, MASTER, made.domain_id, pair, now=now, drain=DRAIN_MS
        ),
    )


def test_a_planned_rotation_waits_until_the_next_key_was_seen(
    store: Engine, made: DomainSettings
) -> None:
    with pytest.raises(TenancyError, match="was not seen published"):
        rotate(store, made, now=10)
    assert states(store, made) == {"sb1": "active", "sb2": "next"}
    observe(store, made, *made.keys)
    rotate(store, made, now=10)
    assert states(store, made) == {"sb1": "retiring", "sb2": "active", "sb3": "next"}


def test_case_068_a_retired_key_keeps_its_slot_for_a_week(
    store: Engine, made: DomainSettings
) -> None:
    observe(store, made, *made.keys)
    rotate(store, made, now=1_000)
    state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
    assert state is not None
    observe(store, made, *state.settings.keys)
    with pytest.raises(TenancyError, match="no slot is free"):
        rotate(store, made, now=1_000 + DRAIN_MS - 1)
    assert states(store, made) == {"sb1": "retiring", "sb2": "active", "sb3": "next"}
    rotate(store, made, now=1_000 + DRAIN_MS)
    assert states(store, made) == {"sb1": "next", "sb2": "retiring", "sb3": "active"}


def test_an_imported_key_waits_for_its_turn(
    store: Engine, made: DomainSettings
) -> None:
    pair, name = small_pair(), DnsName("theirs")
    done = write_now(
        store, lambda at: keys.import_key(at, MASTER, made, name, pair, now=9)
    )
    assert (done.state, done.p) == (KeyState.NEXT, pair.p)
    assert states(store, made) == {
        "sb1": "active",
        "sb2": "revoked",
        "theirs": "next",
    }
    view = read_now(store, lambda at: domains.the_domain(at, made.name))
    assert view.settings.selectors == ("sb1", "sb2", "sb3", "theirs")


def test_an_imported_key_does_not_push_another_out_of_its_selector(
    store: Engine, made: DomainSettings
) -> None:
    pair = small_pair()
    with pytest.raises(TenancyError, match="holds the active key"):
        write_now(
            store,
            lambda at: keys.import_key(at, MASTER, made, DnsName("sb1"), pair, now=9),
        )
    with pytest.raises(FormatError):
        write_now(
            store,
            lambda at: keys.import_key(at, MASTER, made, DnsName("a_b"), pair, now=9),
        )


def test_an_unknown_key_is_said_to_be_unknown(store: Engine) -> None:
    with pytest.raises(TenancyError, match="no key 99"):
        read_now(store, lambda at: keys.find_key(at, KeyId(99)))


def test_the_operators_keys_rotate_as_a_domains_do(store: Engine) -> None:
    pairs = [small_pair(), small_pair()]
    first = write_now(
        store, lambda at: keys.add_operator_keys(at, MASTER, pairs, now=1)
    )
    assert [key.state for key in first] == [KeyState.ACTIVE, KeyState.NEXT]
    with pytest.raises(TenancyError, match="has keys already"):
        write_now(store, lambda at: keys.add_operator_keys(at, MASTER, pairs, now=1))
    write_now(store, lambda at: keys.rotate_emergency(at, None, now=10))
    revoke(store, first[0], now=20)
    found = read_now(store, keys.operator_keys)
    assert [(str(key.selector), key.state.value) for key in found] == [
        ("sb1", "revoked"),
        ("sb2", "active"),
        ("sb3", "next"),
    ]


def test_a_new_key_is_looked_for_at_once(store: Engine, made: DomainSettings) -> None:
    def put_off(at: Connection) -> None:
        at.execute(schema.sending_domain.update().values(next_check_at=10_000))

    def is_due() -> bool:
        return bool(read_now(store, lambda at: domains.domains_due(at, now=1, limit=1)))

    write_now(store, put_off)
    assert not is_due()
    revoke(store, made.keys[1], now=5)
    assert is_due()
    write_now(store, put_off)
    name, pair = DnsName("theirs"), small_pair()
    write_now(store, lambda at: keys.import_key(at, MASTER, made, name, pair, now=9))
    assert is_due()


def test_an_ed25519_key_activated_earlier_does_not_shorten_an_rsa_keys_drain(
    store: Engine, made: DomainSettings
) -> None:
    day = 24 * 3_600 * 1_000
    pair, name = small_pair(Algorithm.ED25519), DnsName("ed")
    write_now(
        store, lambda at: keys.import_key(at, MASTER, made, name, pair, now=10 * day)
    )

    def rotate(now: int) -> None:
        state = read_now(store, lambda at: domains.domain_state(at, made.domain_id))
        assert state is not None
        following = (k for k in state.settings.keys if k.state is KeyState.NEXT)
        observe(store, made, *(k for k in following if k.algorithm is Algorithm.RSA))
        write_now(
            store,
            lambda at: keys.rotate(
                at, MASTER, made.domain_id, small_pair(), now=now, drain=DRAIN_MS
            ),
        )

    rotate(100 * day)  # sb1 retires here, sb3 becomes next
    with pytest.raises(TenancyError, match="no slot is free"):
        rotate(100 * day + 60_000)  # a minute later sb1 is still needed
    assert states(store, made)["sb1"] == "retiring"
