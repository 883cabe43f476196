"""Who may send, from memory: what sessions and departures ask, several times a message.

A worker's view of the store, bounded and never older than the generation it names:
`refresh` is polled, and what a change touches is forgotten before its generation shows.
Nothing is trusted for over a minute after the last time that the store was asked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from sqlalchemy import Connection

from soboo_mta.formats.keys import SigningKey
from soboo_mta.identity.state import DomainState, PublicKey
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import CredentialId, DomainId, KeyId, TenantId
from soboo_mta.ports import Clock, IpAddress
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import (
    EVERYBODY,
    Credential,
    Tenant,
    concerned_since,
    find_certified,
    find_login,
    find_tenants,
    generation,
    is_user_name,
    live_of,
    used,
)
from soboo_mta.tenancy.cache import Bounds, Cache, LoadingCache
from soboo_mta.tenancy.domains import domain_states, owner_states, tenant_states
from soboo_mta.tenancy.secrets import MasterKey, is_equal
from soboo_mta.tenancy.signing.slots import OpenKey, keys_of, open_signing_keys

K = TypeVar("K")
V = TypeVar("V")
_MAX_USES: Final = 1_000  # rows in one transaction
_NOBODY: Final = bytes(32)  # compared with where there is no such user


class KeyGone(StoreError):
    """The private half of a key was destroyed: look at the domain's state again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """Bounds of what is kept in memory."""

    entries: int = 20_000
    """Entries of each cache; the oldest gives way."""
    missing_entries: int = 5_000
    """Names of each cache known not to exist: asked for by whoever guesses."""
    max_age: timedelta = timedelta(seconds=60)
    """Nothing in memory is used so long after the last `refresh`."""
    use_recorded_every: timedelta = timedelta(minutes=1)
    """How often the last use of credentials is stored."""


class Directory:
    """The cached view. Call `refresh` once before use, then at most 250 ms apart.

    Look-ups raise StoreError where the store does not answer and memory does not know.
    """

    def __init__(
        self,
        *,
        writer: Writer,
        master: MasterKey,
        clock: Clock,
        options: DirectoryOptions | None = None,
    ) -> None:
        self._writer = writer
        self._master = master
        self._clock = clock
        self._options = options or DirectoryOptions()
        self._generation = 0
        self._operator_keys: tuple[PublicKey, ...] = ()
        self._era = 0  # counts what emptied the caches
        self._fresh_until = float("-inf")
        self._uses: dict[CredentialId, int] = {}
        self._uses_due = float("-inf")
        bounds = Bounds(self._options.entries, self._options.missing_entries)
        self._logins: Cache[str, _Login] = Cache(bounds, lambda login: _whose(login[0]))
        self._certified = LoadingCache(bounds, lambda _: EVERYBODY, _certified)
        self._live = LoadingCache(bounds, _whose, live_of)
        self._tenants = LoadingCache(bounds, lambda one: one.tenant_id, find_tenants)
        self._by_name = LoadingCache(bounds, _tenant_of, _by_name)
        self._by_id = LoadingCache(bounds, _tenant_of, domain_states)
        self._keys = LoadingCache(bounds, lambda one: one.whose, self._open_keys)

    @property
    def generation(self) -> int:
        """What is answered from now on is at least this new."""
        return self._generation

    @property
    def operator_keys(self) -> tuple[PublicKey, ...]:
        """The keys of the operator's own d=, as of `generation`."""
        return self._operator_keys

    async def refresh(self) -> None:
        """Follow the store's generation; store now and then who logged in."""
        seen = self._generation
        asked = self._clock.monotonic()
        change = await self._writer.read(lambda at: _followed(at, seen))
        if asked >= self._fresh_until:
            self._forget(None)
        self._fresh_until = asked + self._options.max_age.total_seconds()
        if change is not None:
            self._forget(change.concerned)
            # With the generation: who acknowledges it must not sign with older keys.
            self._generation = change.generation
            self._operator_keys = change.operator_keys
        if self._uses and self._clock.monotonic() >= self._uses_due:
            await self._store_uses()

    async def authenticate(
        self, user_name: str, secret: str, client: IpAddress
    ) -> Credential | NoLogin:
        """Return the credential, or what is wrong, after the same work.

        A right secret is answered from memory. A wrong one and an unknown name both cost
        one look into the store, so that time tells nobody which names exist.
        """
        given = self._master.credential_hash(user_name, secret)
        known = self._kept(self._logins, user_name)
        if known is None or not is_equal(known[1], given):
            known = await self._login(user_name)
        credential, right = known or (None, _NOBODY)
        is_right = is_equal(right, given)
        if credential is None:
            return NoLogin.UNKNOWN_NAME
        if not is_right:
            return NoLogin.WRONG_SECRET
        if credential.revoked_at is not None:
            return NoLogin.REVOKED
        if not credential.admits(client):
            return NoLogin.NETWORK
        self._uses[credential.credential_id] = self._clock.unix_ms()
        return credential

    async def certified(
        self, names: tuple[str, ...], user_name: str, client: IpAddress
    ) -> Credential | NoLogin:
        """Return the live credential bound to one of the names of a verified certificate:
        the one of that user name, or for "" that of the first name that has one."""
        cause = NoLogin.UNKNOWN_NAME
        for credential in await self._look(self._certified, names) or ():
            if user_name not in ("", credential.user_name):
                continue
            if credential.admits(client):
                self._uses[credential.credential_id] = self._clock.unix_ms()
                return credential
            cause = NoLogin.NETWORK
        return cause

    async def still_valid(self, credential_id: CredentialId) -> bool:
        """Whether the credential is not revoked: asked at each MAIL."""
        return await self._look(self._live, credential_id) is not None

    async def tenant(self, tenant_id: TenantId) -> Tenant | None:
        """Return the tenant, suspended or not."""
        return await self._look(self._tenants, tenant_id)

    async def sending_domain(
        self, author_domain: Domain, *, tenant: TenantId | None
    ) -> DomainState | None:
        """Return the state of exactly that name: for None its one owner's, for a tenant
        the tenant's own, which may be unverified."""
        return await self._look(self._by_name, (author_domain, tenant))

    async def domain_by_id(self, domain_id: DomainId) -> DomainState | None:
        """Return the domain's state; None when it was released."""
        return await self._look(self._by_id, domain_id)

    async def signing_key(self, key_id: KeyId) -> SigningKey:
        """Return the key ready to sign; raise KeyGone when it was destroyed.

        Raises SecretError when the master key does not open it.
        """
        found = await self._look(self._keys, key_id)
        if found is None:
            raise KeyGone(f"the private half of key {key_id} was destroyed")
        return found.key

    # ---- caches

    def _kept(self, cache: Cache[K, V], key: K) -> V | None:
        if self._clock.monotonic() >= self._fresh_until:
            self._forget(None)
        return cache.found.get(key)

    async def _look(self, cache: LoadingCache[K, V], key: K) -> V | None:
        found = self._kept(cache, key)
        if found is not None or key in cache.missing:
            return found
        cache.wanted[key] = None
        async with cache.loading:  # one look for all that is wanted meanwhile
            found = self._kept(cache, key)
            if found is not None or key in cache.missing:
                return found
            return await self._load(cache, key)

    async def _load(self, cache: LoadingCache[K, V], key: K) -> V | None:
        others = cache.wanted_beside(key)
        while True:
            era = self._era
            found = await self._writer.read(lambda at: cache.look(at, key, others))
            if era == self._era:  # else it may be older than the generation shown
                for one, value in found.items():
                    cache.keep(one, value)
                return found[key]

    async def _login(self, user_name: str) -> "_Login | None":
        # Never kept when missing: each guess costs the same.
        era = self._era
        name = user_name if is_user_name(user_name) else ""
        found = await self._writer.read(lambda at: find_login(at, name))
        if found is not None and era == self._era:
            self._logins.keep(name, found)
        return found

    def _forget(self, tenants: Collection[TenantId] | None) -> None:
        """Forget what these tenants' changes touch, and all certificates; None: all."""
        self._era += 1
        self._certified.forget(None)
        for cache in (self._logins, self._live, self._tenants):
            cache.forget(tenants)
        for more in (self._by_name, self._by_id, self._keys):
            more.forget(tenants)

    async def _store_uses(self) -> None:
        # In one order everywhere: two workers must not wait for each other's rows.
        some = sorted(self._uses.items())[:_MAX_USES]
        for credential_id, at in some:
            if self._uses[credential_id] == at:
                del self._uses[credential_id]
        every = self._options.use_recorded_every.total_seconds()
        self._uses_due = self._clock.monotonic() + every
        await self._writer.commit([used(some)])

    def _open_keys(
        self, connection: Connection, wanted: Collection[KeyId]
    ) -> dict[KeyId, OpenKey]:
        return open_signing_keys(connection, self._master, wanted)


@dataclass(frozen=True, slots=True)
class _Change:
    """A generation later than the one seen; `concerned` None: everybody."""

    generation: int
    concerned: frozenset[TenantId] | None
    operator_keys: tuple[PublicKey, ...]


def _followed(connection: Connection, seen: int) -> _Change | None:
    found = generation(connection)
    if found == seen:
        return None
    concerned = concerned_since(connection, seen) if found > seen else None
    return _Change(found, concerned, keys_of(connection, None))


def _whose(credential: Credential) -> TenantId:
    return credential.tenant or EVERYBODY


def _tenant_of(state: DomainState) -> TenantId:
    return state.settings.tenant


# ---- what is wanted, in few queries


_Login = tuple[Credential, bytes]  # with the keyed hash of its secret
_Named = tuple[Domain, TenantId | None]  # None: its owner


def _certified(
    connection: Connection, wanted: Collection[tuple[str, ...]]
) -> dict[tuple[str, ...], tuple[Credential, ...]]:
    found = {names: find_certified(connection, names) for names in wanted}
    return {names: credentials for names, credentials in found.items() if credentials}


def _by_name(
    connection: Connection, wanted: Collection[_Named]
) -> dict[_Named, DomainState]:
    owned = [name for name, tenant in wanted if tenant is None]
    set_up = [(name, tenant) for name, tenant in wanted if tenant is not None]
    found: dict[_Named, DomainState] = {}
    if owned:
        for name, state in owner_states(connection, owned).items():
            found[name, None] = state
    if set_up:
        for key, state in tenant_states(connection, set_up).items():
            found[key] = state
    return found
