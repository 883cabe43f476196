"""The life of DKIM keys, next to withdrawn, and their private halves.

A domain has three RSA slots so that each rotation, an emergency's too, finds the next key
published already and leaves a slot for the one after. Private halves are sealed, and
destroyed with the revocation. Functions over one connection; keys are made outside the
transaction (RSA takes 0.1 s) and handed in. RFC 6376 §3.6.1.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from soboo_mta.formats import keys as key_format
from soboo_mta.formats.keys import KeyPair
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import (
    TenancyError,
    bump_generation,
    raise_generation,
)
from soboo_mta.tenancy.domains import (
    DEFAULT_SELECTORS,
    ED25519_SELECTOR,
    NewDomain,
    add_selector,
    bump_for_domain,
    check_soon,
    insert_domain,
    tell_of_domain,
    to_public_key,
)
from soboo_mta.tenancy.domains.relays import put_way_out
from soboo_mta.tenancy.secrets import MasterKey
from soboo_mta.tenancy.signing.slots import (
    DAY_MS,
    free_slot,
    insert_key,
    keys_of,
    move_keys,
    revoke_key,
    the_view,
)

_key = schema.dkim_key.c
_domain = schema.sending_domain.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a rotation did: workers follow once they acknowledge `generation`."""

    activated: tuple[PublicKey, ...]
    retired: tuple[PublicKey, ...]
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What a revocation did: `successor` is the fresh key in a free slot, or None."""

    revoked: PublicKey
    successor: PublicKey | None
    generation: int


def make_pair(algorithm: Algorithm) -> KeyPair:
    """Return a fresh key pair: RSA-2048 or Ed25519."""
    if algorithm is Algorithm.ED25519:
        return key_format.generate_ed25519()
    return key_format.generate_rsa()


def first_pairs(
    new: NewDomain, make: Callable[[Algorithm], KeyPair] = make_pair
) -> tuple[KeyPair, ...]:
    """Return the keys a new domain begins with, in the order of its slots.

    cname, zone, relay: one to sign and one ready; manual: the one to paste; mailbox:
    none, for its provider signs. Ed25519 beside them where wanted.
    """
    ready = {Mode.MANUAL: 1, Mode.MAILBOX: 0}.get(new.mode, 2)
    kinds = [Algorithm.RSA] * ready
    if new.ed25519 and ready:
        kinds.append(Algorithm.ED25519)
    return tuple(make(kind) for kind in kinds)


def add_domain(
    connection: Connection,
    master: MasterKey,
    new: NewDomain,
    pairs: Sequence[KeyPair],
    *,
    now: int,
) -> DomainSettings:
    """Store a new domain with its first keys (see `first_pairs`) and its way out: the
    first key of each algorithm is active, the second RSA key is next."""
    domain_id = insert_domain(connection, new, now=now)
    _insert_first(connection, master, domain_id, pairs, new.selectors, now)
    if new.way_out is not None:
        put_way_out(connection, master, domain_id, new.way_out, new.secret)
    return the_view(connection, domain_id).settings


def add_operator_keys(
    connection: Connection, master: MasterKey, pairs: Sequence[KeyPair], *, now: int
) -> tuple[PublicKey, ...]:
    """Store the operator's own first keys, active and next; TenancyError when it has some."""
    bump_generation(connection)
    if operator_keys(connection):
        raise TenancyError("the operator has keys already: see `soboo-mta key list`")
    _insert_first(connection, master, None, pairs, DEFAULT_SELECTORS, now)
    return operator_keys(connection)


def operator_keys(connection: Connection) -> tuple[PublicKey, ...]:
    """Return the keys of the operator's own d=, in order of their making."""
    return keys_of(connection, None)


def find_key(
    connection: Connection, key_id: KeyId
) -> tuple[PublicKey, DomainId | None]:
    """Return a key and whose it is (None: the operator's); TenancyError when unknown."""
    row = connection.execute(
        select(schema.dkim_key).where(_key.id == key_id)
    ).one_or_none()
    if row is None:
        raise TenancyError(f"there is no key {key_id}: see `soboo-mta key list`")
    domain_id = row._mapping["domain_id"]
    return to_public_key(row), None if domain_id is None else DomainId(domain_id)


# ---- rotation


def rotate(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId | None,
    pair: KeyPair,
    *,
    now: int,
    drain: int,
) -> Rotation:
    """Planned: the next RSA key signs from now on, the active one retires, and `pair`
    is next. Refused unless the next key was seen published, and while no slot is free.
    `drain` as `slots.drain_ms`.
    """
    generation = bump_for_domain(connection, domain_id)
    keys = [k for k in keys_of(connection, domain_id) if k.algorithm is Algorithm.RSA]
    active, ready = _in(keys, KeyState.ACTIVE), _in(keys, KeyState.NEXT)
    _refuse_unready(connection, domain_id, ready)
    _exchange(connection, active, ready, now)
    if _fill(connection, master, domain_id, Algorithm.RSA, pair, now, drain) is None:
        raise TenancyError(
            "no slot is free for the key after this one: a key retired less than "
            f"{drain / DAY_MS:g} days ago is still needed by mail under way; rotate "
            "later, or revoke it with `soboo-mta key revoke`"
        )
    return Rotation(activated=ready, retired=active, generation=generation)


def rotate_emergency(
    connection: Connection, domain_id: DomainId | None, *, now: int
) -> Rotation:
    """Take each active key of a domain (None: the operator's) out of use at once.

    The next key signs from now on; without one the ladder decides what leaves. The
    retired keys stay published until `revoke`: call it once every live worker has
    acknowledged the rotation's generation, so that nothing under way loses its key.
    """
    generation = bump_for_domain(connection, domain_id)
    keys = keys_of(connection, domain_id)
    active, ready = _in(keys, KeyState.ACTIVE), _in(keys, KeyState.NEXT)
    if not active:
        raise TenancyError("no key is active: there is nothing to take out of use")
    _exchange(connection, active, ready, now)
    return Rotation(activated=ready, retired=active, generation=generation)


def revoke(
    connection: Connection,
    master: MasterKey,
    key_id: KeyId,
    pair: KeyPair,
    *,
    now: int,
    drain: int,
) -> Revocation:
    """Revoke a key for good: its p= is published empty, its private half destroyed.

    `pair` becomes the next key in a free slot where its algorithm has none ready. The
    active key is refused: rotate first, so that what leaves is signed.
    """
    generation = raise_generation(connection)
    key, domain_id = find_key(connection, key_id)
    tell_of_domain(connection, generation, domain_id)
    if key.state in (KeyState.REVOKED, KeyState.WITHDRAWN):
        raise TenancyError(f"key {key_id} is revoked already")
    if key.state is KeyState.ACTIVE:
        raise TenancyError(
            f"key {key_id} signs now: `soboo-mta key rotate --emergency` takes it out "
            "of use first"
        )
    revoke_key(connection, key_id, now)
    successor = _fill(connection, master, domain_id, key.algorithm, pair, now, drain)
    return Revocation(revoked=key, successor=successor, generation=generation)


def prepare_next(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId,
    pair: KeyPair,
    *,
    now: int,
    drain: int,
) -> PublicKey | None:
    """Make `pair` the next RSA key where there is none; None where there is one, or no
    selector is free."""
    bump_for_domain(connection, domain_id)
    return _fill(connection, master, domain_id, Algorithm.RSA, pair, now, drain)


def import_key(
    connection: Connection,
    master: MasterKey,
    settings: DomainSettings,
    selector: DnsName,
    pair: KeyPair,
    *,
    now: int,
) -> PublicKey:
    """Store a key made elsewhere under `selector`; it signs at the next rotation.

    It is active at once where the domain has no active key of its algorithm; otherwise
    it takes the place of the next one, which is revoked unused.
    """
    bump_for_domain(connection, settings.domain_id)
    _refuse_taken(settings, selector)
    _refuse_known(connection, settings, pair)
    if selector not in settings.selectors:
        add_selector(connection, settings, selector)
    same = [key for key in settings.keys if key.algorithm == pair.algorithm]
    for key in same:
        if key.state is KeyState.NEXT:
            revoke_key(connection, key.key_id, now)
    is_first = not any(key.state is KeyState.ACTIVE for key in same)
    state = KeyState.ACTIVE if is_first else KeyState.NEXT
    insert_key(connection, master, settings.domain_id, selector, pair, state, now)
    check_soon(connection, settings.domain_id)
    return keys_of(connection, settings.domain_id)[-1]


# ---- which key, which slot


def _insert_first(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId | None,
    pairs: Sequence[KeyPair],
    selectors: Sequence[DnsName],
    now: int,
) -> None:
    slots = iter(selectors)
    seen: set[str] = set()
    for pair in pairs:
        is_rsa = pair.algorithm == Algorithm.RSA
        selector = next(slots) if is_rsa else ED25519_SELECTOR
        state = KeyState.NEXT if pair.algorithm in seen else KeyState.ACTIVE
        seen.add(pair.algorithm)
        insert_key(connection, master, domain_id, selector, pair, state, now)


def _fill(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId | None,
    algorithm: Algorithm,
    pair: KeyPair,
    now: int,
    drain: int,
) -> PublicKey | None:
    """Put `pair` into a free slot as the next key of `algorithm`, where none is ready.

    Ed25519 has one slot: its new key stands where the revoked one did.
    """
    keys = [key for key in keys_of(connection, domain_id) if key.algorithm == algorithm]
    states = {key.state for key in keys}
    if KeyState.NEXT in states:
        return None
    state = KeyState.NEXT if KeyState.ACTIVE in states else KeyState.ACTIVE
    selector = free_slot(connection, domain_id, algorithm, now=now, drain=drain)
    if selector is None:
        return None
    insert_key(connection, master, domain_id, selector, pair, state, now)
    if domain_id is not None:
        check_soon(connection, domain_id)  # it signs once it was seen published
    return keys_of(connection, domain_id)[-1]


def _refuse_unready(
    connection: Connection, domain_id: DomainId | None, ready: tuple[PublicKey, ...]
) -> None:
    if not ready:
        raise TenancyError(
            "no next key is ready: add one with `soboo-mta key import`, or revoke a "
            "retired key to make room for one"
        )
    if domain_id is None:
        return  # the operator's zone is published by the operator
    state = the_view(connection, domain_id).state
    usable = state.facts.usable if state.facts else ()
    for key in ready:
        if key.key_id not in usable and not state.settings.assume_verified:
            raise TenancyError(
                f"the next key, selector {key.selector}, was not seen published: "
                f"see `soboo-mta domain verify {state.settings.name}`"
            )


def _refuse_taken(settings: DomainSettings, selector: DnsName) -> None:
    for key in settings.keys:
        if key.selector == selector and key.state is not KeyState.REVOKED:
            raise TenancyError(
                f"selector {selector} holds the {key.state} key {key.key_id}: choose "
                "another selector, or revoke that key first"
            )


def _refuse_known(
    connection: Connection, settings: DomainSettings, pair: KeyPair
) -> None:
    """A revoked key never comes back, and a key has one selector of a domain."""
    rows = connection.execute(
        select(schema.dkim_key).where(_key.public_key == pair.p).order_by(_key.id)
    ).all()
    for row in rows:
        key, whose = to_public_key(row), row._mapping["domain_id"]
        if key.state in (KeyState.REVOKED, KeyState.WITHDRAWN):
            raise TenancyError(
                f"this is key {key.key_id}, which was revoked: make a new one"
            )
        if whose == settings.domain_id:
            raise TenancyError(
                f"this is key {key.key_id}, selector {key.selector}, of the domain"
                " already"
            )


def _in(keys: Iterable[PublicKey], state: KeyState) -> tuple[PublicKey, ...]:
    return tuple(key for key in keys if key.state is state)


def _exchange(
    connection: Connection,
    active: tuple[PublicKey, ...],
    ready: tuple[PublicKey, ...],
    now: int,
) -> None:
    move_keys(connection, active, state=KeyState.RETIRING.value)
    move_keys(connection, ready, state=KeyState.ACTIVE.value, activated_at=now)
