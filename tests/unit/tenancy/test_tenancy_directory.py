"""The cached view: right at once where it matters, from memory where it is hot."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

import pytest
from sqlalchemy import Connection, update

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import KeyId
from soboo_mta.store import schema
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy import accounts, domains
from soboo_mta.tenancy.accounts import NewCredential
from soboo_mta.tenancy.directory import Directory, DirectoryOptions, KeyGone
from soboo_mta.tenancy.secrets import SecretError
from soboo_mta.tenancy.signing import keys
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

T = TypeVar("T")
CLIENT = ip_address("192.0.2.9")


class CountingWriter(Writer):
    """A writer that counts reads, and can go silent."""

    reads = 0
    is_silent = False

    async def read(self, function: Callable[[Connection], T]) -> T:
        self.reads += 1
        if self.is_silent:
            raise StoreUnavailable("gone")
        return await super().read(function)


@pytest.fixture
async def counting(writer: Writer) -> CountingWriter:
    writer.__class__ = CountingWriter
    assert isinstance(writer, CountingWriter)
    await writer.transact(with_tenants)
    return writer


@pytest.fixture
async def directory(counting: CountingWriter, clock: FakeClock) -> Directory:
    return await new_directory(counting, clock)


async def new_directory(
    writer: Writer, clock: FakeClock, options: DirectoryOptions | None = None
) -> Directory:
    directory = Directory(writer=writer, master=MASTER, clock=clock, options=options)
    await directory.refresh()
    return directory


async def credential(
    writer: Writer, name: str = "app", **more: object
) -> NewCredential:
    values: dict[str, object] = {"tenant": ACME, "user_name": name, "now": 1} | more
    return await writer.transact(
        lambda at: accounts.add_credential(at, MASTER, **values)  # type: ignore[arg-type]
    )


async def verified(writer: Writer) -> domains.DomainView:
    def write(at: Connection) -> None:
        made = with_domain(at)
        domains.store_check(
            at,
            made.domain_id,
            checks=[seen()],
            facts=facts(made.keys[0].key_id),
            owned=True,
            next_check_at=0,
            changed=True,
            now=5,
        )

    await writer.transact(write)
    return await writer.read(lambda at: domains.the_domain(at, NAME))


# ---- the operator's keys


async def test_the_operators_keys_come_with_the_generation_that_made_them(
    counting: CountingWriter, directory: Directory
) -> None:
    assert directory.operator_keys == ()
    pairs = [small_pair(), small_pair()]
    made = await counting.transact(
        lambda at: keys.add_operator_keys(at, MASTER, pairs, now=1)
    )
    counting.reads = 0
    await directory.refresh()
    assert directory.operator_keys == made
    assert counting.reads == 1  # one snapshot: no generation without its keys
    await directory.refresh()
    assert directory.operator_keys == made


# ---- logging in


async def test_the_right_secret_logs_in_and_nothing_else_does(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting)
    found = await directory.authenticate("app", made.secret, CLIENT)
    assert found == made.credential
    wrong, unknown = NoLogin.WRONG_SECRET, NoLogin.UNKNOWN_NAME
    for user, secret, cause in (
        ("app", made.secret.upper(), wrong),
        ("app", "", wrong),
        ("APP", made.secret, unknown),
        ("nobody", made.secret, unknown),
        ("app\0", made.secret, unknown),
        ("\udcff", "\udcff", unknown),
        ("a" * 10_000, "b" * 10_000, unknown),
    ):
        assert await directory.authenticate(user, secret, CLIENT) is cause


async def test_a_credential_logs_in_from_its_networks_alone(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting, networks=accounts.parse_networks(["10.0.0.0/8"]))
    inside = ip_address("10.1.2.3")
    outside = await directory.authenticate("app", made.secret, CLIENT)
    assert outside is NoLogin.NETWORK
    assert await directory.authenticate("app", made.secret, inside) == made.credential
    wrong = await directory.authenticate("app", "wrong", CLIENT)
    assert wrong is NoLogin.WRONG_SECRET


async def test_a_right_secret_is_answered_from_memory_after_the_first_time(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting)
    await directory.authenticate("app", made.secret, CLIENT)
    counting.reads = 0
    for _ in range(5):
        found = await directory.authenticate("app", made.secret, CLIENT)
        assert found == made.credential
    assert counting.reads == 0


async def test_case_013_a_wrong_secret_and_an_unknown_name_cost_the_same_look(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting)
    await directory.authenticate("app", made.secret, CLIENT)
    costs = []
    for user in ("app", "app", "nobody", "nobody", "no\0body"):
        counting.reads = 0
        await directory.authenticate(user, "wrong", CLIENT)
        costs.append(counting.reads)
    assert costs == [1, 1, 1, 1, 1]


async def test_case_059_a_revoked_credential_is_dead_at_the_next_refresh(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting)
    credential_id = made.credential.credential_id
    await directory.refresh()
    assert await directory.still_valid(credential_id)
    await counting.transact(lambda at: accounts.revoke_credential(at, "app", now=9))
    await directory.refresh()
    assert not await directory.still_valid(credential_id)
    revoked = await directory.authenticate("app", made.secret, CLIENT)
    assert revoked is NoLogin.REVOKED


async def test_case_059_a_session_under_a_renewed_secret_is_dead_too(
    counting: CountingWriter, directory: Directory
) -> None:
    old = await credential(counting)
    assert await directory.authenticate("app", old.secret, CLIENT)
    new = await counting.transact(
        lambda at: accounts.renew_secret(at, MASTER, "app", now=9)
    )
    await directory.refresh()
    assert not await directory.still_valid(old.credential.credential_id)
    renewed = await directory.authenticate("app", old.secret, CLIENT)
    assert renewed is NoLogin.WRONG_SECRET
    assert await directory.authenticate("app", new.secret, CLIENT) == new.credential


async def test_the_last_use_is_stored_at_most_once_a_minute(
    counting: CountingWriter, directory: Directory, clock: FakeClock
) -> None:
    made = await credential(counting)

    async def stored() -> int | None:
        found = await counting.read(lambda at: accounts.the_credential(at, "app"))
        return found.last_used_at

    first = clock.unix_ms()
    await directory.authenticate("app", made.secret, CLIENT)
    await directory.refresh()
    assert await stored() == first
    clock.advance(30)
    await directory.authenticate("app", made.secret, CLIENT)
    second = clock.unix_ms()
    await directory.refresh()
    assert await stored() == first
    clock.advance(31)
    await directory.refresh()
    assert await stored() == second


async def test_storing_a_use_does_not_empty_the_caches(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(counting)
    await directory.refresh()
    generation = directory.generation
    await directory.authenticate("app", made.secret, CLIENT)
    await directory.refresh()
    await directory.refresh()
    assert directory.generation == generation


# ---- domains and keys


async def test_case_046_a_domain_is_found_for_its_tenant_and_for_the_operator_alone(
    counting: CountingWriter, directory: Directory
) -> None:
    view = await verified(counting)
    assert await directory.sending_domain(NAME, tenant=None) == view.state
    assert await directory.sending_domain(NAME, tenant=ACME) == view.state
    assert await directory.sending_domain(NAME, tenant=RIVAL) is None
    sub = Domain(f"mail.{NAME}")
    assert await directory.sending_domain(sub, tenant=ACME) is None
    assert await directory.domain_by_id(view.settings.domain_id) == view.state


async def test_an_unverified_domain_shows_to_its_own_tenant_alone(
    counting: CountingWriter, directory: Directory
) -> None:
    await counting.transact(with_domain)
    state = await directory.sending_domain(NAME, tenant=ACME)
    assert state is not None
    assert not state.was_verified
    assert await directory.sending_domain(NAME, tenant=None) is None


async def test_what_is_known_and_what_is_not_is_asked_once(
    counting: CountingWriter, directory: Directory
) -> None:
    await verified(counting)
    await directory.refresh()
    counting.reads = 0
    for _ in range(5):
        await directory.sending_domain(NAME, tenant=ACME)
        await directory.sending_domain(Domain("nothing.example"), tenant=ACME)
        await directory.tenant(ACME)
    assert counting.reads == 3


async def test_many_who_wait_for_the_same_ask_once(
    counting: CountingWriter, directory: Directory
) -> None:
    await verified(counting)
    await directory.refresh()
    counting.reads = 0
    looks = [directory.sending_domain(NAME, tenant=ACME) for _ in range(50)]
    found = await asyncio.gather(*looks)
    assert counting.reads == 1
    assert len({id(one) for one in found}) == 1


async def test_those_who_wait_for_different_names_ask_together(
    counting: CountingWriter, directory: Directory
) -> None:
    view = await verified(counting)
    await directory.refresh()
    wanted = [(NAME, ACME), (NAME, None), (NAME, RIVAL)]
    wanted += [(Domain(f"no{number}.example"), None) for number in range(20)]
    counting.reads = 0
    found = await asyncio.gather(
        *(directory.sending_domain(name, tenant=tenant) for name, tenant in wanted)
    )
    assert found == [view.state, view.state, *[None] * 21]
    assert counting.reads == 2  # the first does not wait for the others


async def test_a_key_that_does_not_open_is_an_error_for_its_own_domain_alone(
    counting: CountingWriter, directory: Directory
) -> None:
    view = await verified(counting)
    bad, good = (key.key_id for key in view.settings.keys)
    moved = update(schema.dkim_key).where(schema.dkim_key.c.id == bad)
    await counting.transact(lambda at: at.execute(moved.values(private_key=b"junk")))
    counting.reads = 0
    opened = await asyncio.gather(
        *(directory.signing_key(key) for key in (KeyId(4_711), good, bad)),
        return_exceptions=True,
    )
    assert counting.reads == 3  # the second for both, the third for the bad one alone
    gone, key, error = opened
    assert isinstance(gone, KeyGone)
    assert await directory.signing_key(good) is key
    assert isinstance(error, SecretError)


async def test_what_was_confirmed_within_the_minute_is_not_asked_again(
    counting: CountingWriter, directory: Directory, clock: FakeClock
) -> None:
    await directory.tenant(ACME)
    for _ in range(5):
        clock.advance(50)
        await directory.refresh()
    counting.is_silent = True
    assert await directory.tenant(ACME) is not None


async def test_a_change_shows_with_the_generation(
    counting: CountingWriter, directory: Directory
) -> None:
    await directory.tenant(ACME)
    before = directory.generation
    await counting.transact(
        lambda at: accounts.change_tenant(at, tenant(suspended=True))
    )
    unseen = await directory.tenant(ACME)
    assert unseen is not None
    assert not unseen.suspended
    await directory.refresh()
    assert directory.generation == before + 1
    shown = await directory.tenant(ACME)
    assert shown is not None
    assert shown.suspended


async def test_what_was_read_before_a_change_is_not_kept_after_it(
    counting: CountingWriter, directory: Directory
) -> None:
    """A look under way while the generation rises is made again."""
    reading, changed = asyncio.Event(), asyncio.Event()
    read = counting.read

    async def slow(function: Callable[[Connection], T]) -> T:
        value = await read(function)
        if not reading.is_set():
            reading.set()
            await changed.wait()
        return value

    counting.read = slow  # type: ignore[method-assign]
    look = asyncio.ensure_future(directory.tenant(ACME))
    await reading.wait()
    await counting.transact(
        lambda at: accounts.change_tenant(at, tenant(suspended=True))
    )
    await directory.refresh()
    changed.set()
    found = await look
    assert found is not None
    assert found.suspended
    again = await directory.tenant(ACME)
    assert again is found


async def test_nothing_is_trusted_for_over_a_minute(
    counting: CountingWriter, directory: Directory, clock: FakeClock
) -> None:
    await directory.tenant(ACME)
    counting.is_silent = True
    clock.advance(59)
    assert await directory.tenant(ACME) is not None
    clock.advance(2)
    with pytest.raises(StoreUnavailable):
        await directory.tenant(ACME)


async def test_guesses_push_nobody_out(
    counting: CountingWriter, clock: FakeClock
) -> None:
    options = DirectoryOptions(entries=2, missing_entries=2)
    directory = await new_directory(counting, clock, options)
    await verified(counting)
    await directory.refresh()
    await directory.sending_domain(NAME, tenant=ACME)
    for number in range(10):
        await directory.sending_domain(Domain(f"no{number}.example"), tenant=ACME)
    counting.reads = 0
    assert await directory.sending_domain(NAME, tenant=ACME) is not None
    assert counting.reads == 0


async def test_a_full_cache_gives_the_oldest_up(
    counting: CountingWriter, clock: FakeClock
) -> None:
    directory = await new_directory(counting, clock, DirectoryOptions(entries=1))
    await directory.tenant(ACME)
    await directory.tenant(RIVAL)
    counting.reads = 0
    await directory.tenant(RIVAL)
    assert counting.reads == 0
    await directory.tenant(ACME)
    assert counting.reads == 1


async def test_a_key_signs_until_it_is_destroyed(
    counting: CountingWriter, directory: Directory
) -> None:
    view = await verified(counting)
    key = view.settings.keys[0]
    first = await directory.signing_key(key.key_id)
    assert await directory.signing_key(key.key_id) is first

    def swap(at: Connection) -> None:
        keys.rotate_emergency(at, view.settings.domain_id, now=10)
        keys.revoke(at, MASTER, key.key_id, small_pair(), now=11, drain=DRAIN_MS)

    await counting.transact(swap)
    await directory.refresh()
    with pytest.raises(KeyGone):
        await directory.signing_key(key.key_id)
    with pytest.raises(KeyGone):
        await directory.signing_key(KeyId(4_711))


async def test_hot_answers_ask_the_store_once(
    counting: CountingWriter, directory: Directory
) -> None:
    await verified(counting)
    made = await credential(counting)
    await directory.refresh()
    for round_ in range(3):
        await directory.sending_domain(NAME, tenant=ACME)
        await directory.still_valid(made.credential.credential_id)
        if round_ == 0:
            asked = counting.reads
    assert counting.reads == asked


async def test_a_bound_certificate_is_answered_from_memory_until_it_is_revoked(
    counting: CountingWriter, directory: Directory
) -> None:
    made = await credential(
        counting, networks=accounts.parse_networks(["192.0.2.0/24"])
    )
    await counting.transact(
        lambda at: accounts.bind_certificate(at, "app", "m.example")
    )
    names = ("sha256:" + "0" * 64, "m.example")
    for _ in range(2):
        found = await directory.certified(names, "", CLIENT)
        assert found == made.credential
        assert await directory.certified(names, "app", CLIENT) == found
        another = await directory.certified(names, "another", CLIENT)
        assert another is NoLogin.UNKNOWN_NAME
        outside = await directory.certified(names, "", ip_address("198.51.100.1"))
        assert outside is NoLogin.NETWORK
        unbound = await directory.certified(("x.example",), "", CLIENT)
        assert unbound is NoLogin.UNKNOWN_NAME
        counting.is_silent = True  # the second time nothing is asked
    counting.is_silent = False
    await counting.transact(lambda at: accounts.revoke_credential(at, "app", now=2))
    await directory.refresh()
    assert await directory.certified(names, "", CLIENT) is NoLogin.UNKNOWN_NAME
