"""A key is activated once every resolver shows it, and revoked once nothing needs it."""

from dataclasses import dataclass, field, replace

from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import DomainSettings, KeyState, PublicKey
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.watch.rotation import (
    NamedResolver,
    Readiness,
    RotationOptions,
    Rotator,
)
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.signing.rotation import RotationDue
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import FACTS, SETTINGS, state

ACTIVE, READY = SETTINGS.keys
NAME = f"{READY.selector}._domainkey.customer.com"
ZONE = Domain("em.customer.com")


@dataclass
class Book:
    """Remembers what was asked of it."""

    waiting: list[RotationDue] = field(default_factory=list)
    old: list[KeyId] = field(default_factory=list)
    broken: KeyId | None = None
    has_room: bool = True
    rotated: list[str] = field(default_factory=list)
    revoked: list[KeyId] = field(default_factory=list)
    empty: list[KeyId] = field(default_factory=list)
    withdrawn: list[KeyId] = field(default_factory=list)

    async def due(self, *, limit: int, skip: int = 0) -> tuple[RotationDue, ...]:
        left = [d for d in self.waiting if d.state.settings.name not in self.rotated]
        return tuple(left[skip : skip + limit])

    async def rotate(self, settings: DomainSettings) -> bool:
        if self.has_room:
            self.rotated.append(settings.name)
        return self.has_room

    async def drained(self, *, limit: int) -> tuple[KeyId, ...]:
        return tuple(self.old[:limit])

    async def revoke(self, key_id: KeyId) -> None:
        if key_id == self.broken:
            raise TenancyError("it can't be revoked")
        self.revoked.append(key_id)

    async def outlived(self, *, limit: int) -> tuple[KeyId, ...]:
        return tuple(self.empty[:limit])

    async def withdraw(self, key_id: KeyId) -> None:
        self.withdrawn.append(key_id)


@dataclass
class Bench:
    """Two resolvers that show the next key, and a rotation that is due."""

    book: Book = field(default_factory=Book)
    near: FakeResolver = field(default_factory=FakeResolver)
    far: FakeResolver = field(default_factory=FakeResolver)

    def __post_init__(self) -> None:
        self.book.waiting = [due()]
        for one in (self.near, self.far):
            one.add(NAME, "TXT", key_text(READY))

    def rotator(self) -> Rotator:
        return Rotator(
            book=self.book,
            resolvers=self.resolvers(),
            options=RotationOptions(),
        )

    def resolvers(self) -> list[NamedResolver]:
        return [NamedResolver("near", self.near), NamedResolver("far", self.far)]

    async def waits_for(self) -> str:
        await self.rotator().round()
        readiness = Readiness(self.resolvers())
        words = await readiness.waits_for(self.book.waiting[0])
        assert (self.book.rotated == []) is bool(words)
        return words


def due(
    ready: PublicKey | None = READY, *, usable: bool = True, **changes: object
) -> RotationDue:
    keys = (KeyId(1), KeyId(2)) if usable else (KeyId(1),)
    return RotationDue(state(replace(FACTS, usable=keys), **changes), ACTIVE, ready)


async def test_a_key_that_every_resolver_shows_is_activated() -> None:
    bench = Bench()
    assert await bench.waits_for() == ""
    assert bench.book.rotated == ["customer.com"]


async def test_one_resolver_that_does_not_show_it_is_waited_for_and_named() -> None:
    bench = Bench()
    bench.far.remove(NAME)
    assert await bench.waits_for() == f"{NAME} to be seen by far"


async def test_an_old_key_in_a_cache_is_waited_for_too() -> None:
    bench = Bench()
    bench.near.replace(NAME, "TXT", key_text(ACTIVE))
    assert await bench.waits_for() == f"{NAME} to be seen by near"


async def test_a_silent_resolver_tells_nothing_but_one_has_to_speak() -> None:
    bench = Bench()
    bench.far.silent.add(NAME)
    assert await bench.waits_for() == ""
    bench.book.rotated.clear()
    bench.near.silent.add(NAME)
    assert await bench.waits_for() == f"{NAME} to be seen by near"


async def test_the_look_past_caches_comes_first() -> None:
    bench = Bench()
    bench.book.waiting = [due(usable=False)]
    words = await bench.waits_for()
    assert words == "selector sb2 to be published in customer.com"
    assert bench.near.asked == []


async def test_without_a_next_key_or_a_free_selector_it_waits() -> None:
    bench = Bench()
    bench.book.waiting = [due(None)]
    assert (await bench.waits_for()).startswith("a next key")
    bench.book.waiting, bench.book.has_room = [due()], False
    await bench.rotator().round()
    assert bench.book.rotated == []


async def test_who_signs_as_the_domain_itself_goes_on_doing_so() -> None:
    """Mode zone with CNAMEs at the From domain: the next key must be there too."""
    bench = Bench()
    at_zone = f"{READY.selector}._domainkey.{ZONE}"
    for one in (bench.near, bench.far):
        one.add(at_zone, "TXT", key_text(READY))
    plain = due(zone=ZONE)
    author = replace(FACTS, usable_author=(KeyId(1),))
    bench.book.waiting = [replace(plain, state=replace(plain.state, facts=author))]
    words = await bench.waits_for()
    assert words == "selector sb2 to be published in customer.com"
    both = replace(FACTS, usable_author=(KeyId(1), KeyId(2)))
    bench.book.waiting = [replace(plain, state=replace(plain.state, facts=both))]
    assert await bench.waits_for() == ""
    bench.book.rotated.clear()
    bench.far.remove(NAME)
    assert await bench.waits_for() == f"{NAME} to be seen by far"


async def test_what_is_drained_is_revoked_and_what_is_outlived_withdrawn() -> None:
    bench = Bench()
    bench.book.waiting, bench.book.old = [], [KeyId(5), KeyId(6)]
    bench.book.empty = [KeyId(4)]
    await bench.rotator().round()
    assert bench.book.revoked == [KeyId(5), KeyId(6)]
    assert bench.book.withdrawn == []
    await bench.rotator().withdraw()
    assert bench.book.withdrawn == [KeyId(4)]
    assert READY.state is KeyState.NEXT


async def test_those_that_wait_keep_no_other_from_its_turn() -> None:
    bench = Bench()
    stuck = due(None)
    ready = due(name=Domain("other.example"), assume_verified=True)
    bench.book.waiting = [*[stuck] * RotationOptions().at_once, ready]
    await bench.rotator().round()
    assert bench.book.rotated == ["other.example"]


async def test_a_key_that_fails_keeps_no_other_from_its_turn() -> None:
    bench = Bench()
    bench.book.waiting, bench.book.old = [], [KeyId(5), KeyId(6)]
    bench.book.broken = KeyId(5)
    await bench.rotator().round()
    assert bench.book.revoked == [KeyId(6)]
