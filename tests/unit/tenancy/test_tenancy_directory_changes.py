"""A change is seen by those whom it concerns, and costs the others no look."""

from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import Connection

from soboo_mta.identity.state import OnBroken, RecordStatus
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import CredentialId, DomainId, KeyId, TenantId
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy import accounts, domains
from soboo_mta.tenancy.accounts import TenancyError, bump_generation
from soboo_mta.tenancy.directory import Directory, KeyGone
from soboo_mta.tenancy.signing import keys
from soboo_mta.tenancy.signing.slots import open_signing_keys
from tests.fakes.clock import FakeClock
from tests.fakes.tenancy import (
    ACME,
    DRAIN_MS,
    MASTER,
    NAME,
    RIVAL,
    facts,
    seen,
    small_pair,
    tenant,
    with_domain,
    with_tenants,
)

OTHER = Domain("other.example")
CHANGES = 40


@pytest.fixture
async def directory(writer: Writer, clock: FakeClock) -> Directory:
    await writer.transact(with_tenants)
    directory = Directory(writer=writer, master=MASTER, clock=clock)
    await directory.refresh()
    return directory


async def test_a_change_of_one_tenant_leaves_the_others_memory(
    writer: Writer, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = await writer.transact(
        lambda at: with_domain(at, RIVAL, name=OTHER, assume_verified=True)
    )
    await directory.refresh()

    async def of_the_rival() -> None:
        assert await directory.tenant(RIVAL) == tenant(RIVAL)
        for whose in (None, RIVAL):
            state = await directory.sending_domain(OTHER, tenant=whose)
            assert state is not None
            assert state.settings == theirs
        assert await directory.domain_by_id(theirs.domain_id) == state
        assert await directory.signing_key(theirs.keys[0].key_id)

    await of_the_rival()
    await directory.tenant(ACME)
    await writer.transact(lambda at: accounts.change_tenant(at, tenant(suspended=True)))
    await directory.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(writer, "read", None)  # whoever asks the store now breaks
        await of_the_rival()
    changed = await directory.tenant(ACME)
    assert changed == tenant(suspended=True)


async def test_a_change_that_names_nobody_concerns_everybody(
    writer: Writer, directory: Directory
) -> None:
    before = await directory.tenant(RIVAL)
    await writer.transact(bump_generation)
    await directory.refresh()
    after = await directory.tenant(RIVAL)
    assert after == before
    assert after is not before


async def test_a_store_that_was_put_back_is_read_anew(
    writer: Writer, directory: Directory
) -> None:
    """Its generation is older than the one seen, and nothing says what differs."""
    kept = await directory.tenant(RIVAL)
    await writer.transact(
        lambda at: at.execute(schema.identity_generation.update().values(generation=0))
    )
    await directory.refresh()
    assert directory.generation == 0
    assert await directory.tenant(RIVAL) is not kept


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_changes_memory_says_what_the_store_says(
    writer: Writer, directory: Directory, seed: int
) -> None:
    random = Random(seed)
    for number in range(CHANGES):
        change = random.choice(_CHANGES)
        await _attempt(writer, change, random, now=10 + number)
        await directory.refresh()
        await _compare(writer, directory)


# ---- what may change, each within one transaction

_Change = Callable[[Connection, Random, int], object]


async def _attempt(writer: Writer, change: _Change, random: Random, now: int) -> None:
    """Make the change; what the state of things does not allow changes nothing."""

    def attempt(at: Connection) -> None:
        try:
            with at.begin_nested():
                change(at, random, now)
        except TenancyError:
            return

    await writer.transact(attempt)


def _add_domain(at: Connection, random: Random, now: int) -> None:
    owner, name = random.choice((ACME, RIVAL)), random.choice((NAME, OTHER))
    with_domain(at, owner, name=name, assume_verified=random.random() < 0.3)


def _some(at: Connection, random: Random) -> domains.DomainView:
    found = domains.list_domains(at)
    if not found:
        raise TenancyError("there is none")
    return random.choice(found)


def _look(at: Connection, random: Random, now: int) -> None:
    view = _some(at, random)
    is_good = random.random() < 0.6
    domains.store_check(
        at,
        view.settings.domain_id,
        checks=[seen(RecordStatus.GOOD if is_good else RecordStatus.MISSING)],
        facts=facts(*(key.key_id for key in view.settings.keys if is_good)),
        owned=is_good,
        next_check_at=0,
        changed=True,
        now=now,
    )


def _set_domain(at: Connection, random: Random, now: int) -> None:
    domains.change_domain(
        at,
        _some(at, random).settings.domain_id,
        on_broken=random.choice(tuple(OnBroken)),
        sign_with_operator=False,
        assume_verified=random.random() < 0.5,
    )


def _release(at: Connection, random: Random, now: int) -> None:
    domains.release_domain(at, _some(at, random).settings, now=now)


def _rotate(at: Connection, random: Random, now: int) -> None:
    done = keys.rotate_emergency(at, _some(at, random).settings.domain_id, now=now)
    keys.revoke(
        at, MASTER, done.retired[0].key_id, small_pair(), now=now, drain=DRAIN_MS
    )


def _suspend(at: Connection, random: Random, now: int) -> None:
    one = random.choice((ACME, RIVAL))
    accounts.change_tenant(at, tenant(one, suspended=random.random() < 0.5))


def _credential(at: Connection, random: Random, now: int) -> None:
    whose = random.choice((ACME, RIVAL, None))
    accounts.add_credential(at, MASTER, tenant=whose, user_name=f"app{now}", now=now)


def _revoke(at: Connection, random: Random, now: int) -> None:
    found = accounts.list_credentials(at)
    if found:
        accounts.revoke_credential(at, random.choice(found).user_name, now=now)


_CHANGES: tuple[_Change, ...] = (
    _add_domain,
    _add_domain,
    _look,
    _look,
    _look,
    _set_domain,
    _release,
    _rotate,
    _suspend,
    _credential,
    _revoke,
)


# ---- what memory says


async def _compare(writer: Writer, directory: Directory) -> None:
    stored = await writer.read(_everything)
    for tenant_id, one in stored.tenants.items():
        assert await directory.tenant(tenant_id) == one
    for (name, whose), state in stored.named.items():
        assert await directory.sending_domain(name, tenant=whose) == state
    for domain_id, found in stored.by_id.items():
        assert await directory.domain_by_id(domain_id) == found
    for credential_id in stored.credentials:
        is_live = await directory.still_valid(credential_id)
        assert is_live is (credential_id in stored.live)
    for key_id in stored.keys:
        assert await _opens(directory, key_id) is (key_id in stored.open_keys)


async def _opens(directory: Directory, key_id: KeyId) -> bool:
    try:
        await directory.signing_key(key_id)
    except KeyGone:
        return False
    return True


class _Stored:
    """Everything that memory can be asked, read anew."""

    def __init__(self, at: Connection) -> None:
        both = (ACME, RIVAL)
        self.tenants = accounts.find_tenants(at, both)
        names = (NAME, OTHER, Domain("nobody.example"))
        owners = domains.owner_states(at, names)
        pairs = [(name, one) for name in names for one in both]
        own = domains.tenant_states(at, pairs)
        self.named: dict[tuple[Domain, TenantId | None], object] = {}
        self.named |= {(name, None): owners.get(name) for name in names}
        self.named |= {pair: own.get(pair) for pair in pairs}
        ids = list(map(DomainId, at.scalars(schema.sending_domain.select())))
        states = domains.domain_states(at, ids)
        self.by_id = {one: states.get(one) for one in ids}
        self.credentials = [
            CredentialId(one) for one in at.scalars(schema.credential.select())
        ]
        self.live = accounts.live_of(at, self.credentials)
        self.keys = [KeyId(one) for one in at.scalars(schema.dkim_key.select())]
        self.open_keys = open_signing_keys(at, MASTER, self.keys)


def _everything(at: Connection) -> _Stored:
    return _Stored(at)
