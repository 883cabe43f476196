"""The rows of DKIM keys: private halves sealed and opened, and which slot is free.

A slot is a selector; it holds one key that is not revoked. Functions over one connection;
which key moves when is decided in `keys`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, insert, select, update

from soboo_mta.formats import keys as key_format
from soboo_mta.formats.keys import KeyPair, SigningKey
from soboo_mta.identity.state import Algorithm, KeyState, PublicKey
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId, KeyId, TenantId
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import EVERYBODY, TenancyError
from soboo_mta.tenancy.domains import (
    DEFAULT_SELECTORS,
    ED25519_SELECTOR,
    DomainView,
    current_keys,
    to_public_key,
    views,
)
from soboo_mta.tenancy.secrets import MasterKey, SecretError

DAY_MS = 24 * 3600 * 1000
LONGEST_TTL = timedelta(days=1)
"""What a cache may add: ours is identity.zone.TTL; where others publish, a day covers it."""
_key = schema.dkim_key.c
_domain = schema.sending_domain.c


def drain_ms(signature_life: timedelta) -> int:
    """Return how long a retired key stays published, and then its empty p=, in ms: while a
    signature made with it counts (x= of RFC 6376 §3.5), and a cache's time more."""
    return (signature_life + LONGEST_TTL) // timedelta(milliseconds=1)


def move_keys(
    connection: Connection, keys: tuple[PublicKey, ...], **values: object
) -> None:
    """Set columns of several keys."""
    ids = [key.key_id for key in keys]
    connection.execute(update(schema.dkim_key).where(_key.id.in_(ids)).values(**values))


def revoke_key(connection: Connection, key_id: KeyId, now: int) -> None:
    """Mark a key revoked and destroy its private half."""
    connection.execute(
        update(schema.dkim_key)
        .where(_key.id == key_id)
        .values(state=KeyState.REVOKED.value, private_key=None, revoked_at=now)
    )


def insert_key(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId | None,
    selector: DnsName,
    pair: KeyPair,
    state: KeyState,
    now: int,
) -> None:
    """Store a key with its private half sealed."""
    values = {
        "domain_id": domain_id,
        "selector": str(selector),
        "algorithm": pair.algorithm.value,
        "state": state.value,
        "public_key": pair.p,
        "private_key": master.seal(pair.private, context=_context(domain_id, pair.p)),
        "created_at": now,
        "activated_at": now if state is KeyState.ACTIVE else None,
    }
    connection.execute(insert(schema.dkim_key).values(values))


def keys_of(
    connection: Connection, domain_id: DomainId | None
) -> tuple[PublicKey, ...]:
    """Return the current keys of a domain (None: the operator's), oldest first."""
    rows = connection.execute(
        select(schema.dkim_key).where(_owned_by(domain_id)).order_by(_key.id)
    )
    return current_keys([to_public_key(row) for row in rows])


def _owned_by(domain_id: DomainId | None) -> ColumnElement[bool]:
    return (
        _key.domain_id.is_(None) if domain_id is None else _key.domain_id == domain_id
    )


def the_view(connection: Connection, domain_id: DomainId) -> DomainView:
    """Return a domain that was not released; else raise TenancyError."""
    found = views(connection, _domain.id == domain_id)
    if not found:
        raise TenancyError("the domain was released: add it again with `domain add`")
    return found[0]


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key ready to sign, and whose it is: EVERYBODY for the operator's."""

    whose: TenantId
    key: SigningKey


def open_signing_keys(
    connection: Connection, master: MasterKey, key_ids: Collection[KeyId]
) -> dict[KeyId, OpenKey]:
    """Return the keys ready to sign, less those unknown or whose private half is
    destroyed. Raises SecretError when the master key does not open one of them."""
    rows = connection.execute(
        select(
            _key.id,
            _key.domain_id,
            _key.public_key,
            _key.algorithm,
            _key.private_key,
            schema.sending_domain.c.tenant_id,
        )
        .join_from(schema.dkim_key, schema.sending_domain, isouter=True)
        .where(_key.id.in_(key_ids), _key.private_key.is_not(None))
    )
    found = {}
    for row in rows:
        context = _context(row.domain_id, row.public_key)
        private = master.unseal(row.private_key, context=context)
        algorithm = key_format.Algorithm(row.algorithm)
        key = key_format.load_signing_key(private, algorithm)
        found[KeyId(row.id)] = OpenKey(TenantId(row.tenant_id or EVERYBODY), key)
    return found


def check_master(connection: Connection, master: MasterKey) -> None:
    """Raise SecretError where the store's keys were sealed under another master key;
    each credential would be refused, and each new one made for the wrong key."""
    query = select(_key.private_key).where(_key.private_key.is_not(None))
    sealed = connection.scalar(query.order_by(_key.id.desc()).limit(1))
    if sealed is not None and not master.has_sealed(sealed):
        raise SecretError(
            "the store was made with another master key: set that one, or none of its"
            " credentials and private keys can be used"
        )


def _context(domain_id: int | None, p: str) -> str:
    owner = "operator" if domain_id is None else f"domain {domain_id}"
    return f"private key of {owner} for p={p}"


def free_slot(
    connection: Connection,
    domain_id: DomainId | None,
    algorithm: Algorithm,
    *,
    now: int,
    drain: int,
) -> DnsName | None:
    """Return the slot for a new key, its old key revoked; None when all are needed.

    An empty one comes first, then the longest revoked, so that an empty p= is seen as
    long as can be; a key retired for over `drain` (see `drain_ms`) gives its slot up.
    """
    rows = connection.execute(
        select(
            _key.id,
            _key.selector,
            _key.algorithm,
            _key.state,
            _key.activated_at,
            _key.revoked_at,
        )
        .where(_owned_by(domain_id))
        .order_by(_key.id)
    ).all()
    latest = {row.selector: row for row in rows}
    activations = [
        row.activated_at
        for row in rows
        if row.activated_at is not None and row.algorithm == algorithm.value
    ]
    freed: dict[DnsName, int] = {}
    for slot in _slots(connection, domain_id, algorithm):
        row = latest.get(slot)
        if row is None or row.state == KeyState.WITHDRAWN:
            freed[slot] = 0
        elif row.state == KeyState.REVOKED:
            freed[slot] = row.revoked_at
        elif (
            row.state == KeyState.RETIRING
            and _retired_at(row.activated_at, activations) <= now - drain
        ):
            freed[slot] = now - 1  # before a slot revoked in this very moment
    if not freed:
        return None
    slot = min(freed, key=lambda one: freed[one])
    if slot in latest and latest[slot].state == KeyState.RETIRING:
        revoke_key(connection, KeyId(latest[slot].id), now)
    return slot


def _retired_at(activated_at: int | None, activations: Sequence[int]) -> int:
    """A key retires when a later one is activated in its place."""
    later = [at for at in activations if at > (activated_at or 0)]
    return min(later, default=1 << 63)


def _slots(
    connection: Connection, domain_id: DomainId | None, algorithm: Algorithm
) -> tuple[DnsName, ...]:
    if domain_id is None:
        selectors: tuple[DnsName, ...] = (*DEFAULT_SELECTORS, ED25519_SELECTOR)
    else:
        selectors = the_view(connection, domain_id).settings.selectors
    is_ed25519 = algorithm is Algorithm.ED25519
    return tuple(one for one in selectors if (one == ED25519_SELECTOR) == is_ed25519)
