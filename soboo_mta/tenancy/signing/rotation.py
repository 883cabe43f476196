"""Which keys are due to give way, and which retired ones to be revoked for good.

Functions over one connection. A rotation is due when the key that signs is old enough, or
when somebody asked for one; whether the next key is ready is for the caller to see.
"""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    cast,
    func,
    or_,
    select,
    update,
)

from soboo_mta.identity.state import (
    Algorithm,
    DomainState,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.store import schema
from soboo_mta.tenancy.domains import bump_for_domain, views
from soboo_mta.tenancy.signing.slots import DAY_MS, move_keys

_domain = schema.sending_domain.c
_key = schema.dkim_key.c
_later = schema.dkim_key.alias("later").c
# In mode manual each change needs the customer: only where somebody said so.
_UNATTENDED = (Mode.CNAME.value, Mode.ZONE.value, Mode.RELAY.value)


@dataclass(frozen=True, slots=True)
class RotationDue:
    """A domain whose key is to give way. `ready` None: there is no next key."""

    state: DomainState
    active: PublicKey
    ready: PublicKey | None


def rotations_due(
    connection: Connection, *, now: int, every_days: int, limit: int, skip: int = 0
) -> tuple[RotationDue, ...]:
    """Return domains whose RSA key is older than theirs or `every_days` (0: never by
    itself), and those whose rotation was asked for; the longest due first, less the first
    `skip` of them."""
    query = (
        select(_domain.id)
        .join(schema.dkim_key, _key.domain_id == _domain.id)
        .where(
            _domain.released_at.is_(None),
            or_(_domain.verified_at.is_not(None), _domain.assume_verified.is_(True)),
            _key.algorithm == Algorithm.RSA.value,
            _key.state == KeyState.ACTIVE.value,
            or_(_domain.rotation_wanted_at <= now, _is_old(now, every_days)),
        )
        .order_by(
            func.coalesce(_domain.rotation_wanted_at, _key.activated_at), _domain.id
        )
        .limit(limit)
        .offset(skip)
    )
    ids = [DomainId(one) for one in connection.scalars(query)]
    found = {
        view.settings.domain_id: view.state
        for view in views(connection, _domain.id.in_(ids))
    }
    due = (_due(found[one]) for one in ids if one in found)
    return tuple(one for one in due if one is not None)


def want_rotation(connection: Connection, domain_id: DomainId, at: int | None) -> None:
    """Note that the domain's key is to give way from `at` on (unix ms), as soon as the
    next one is ready; None: no more."""
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(rotation_wanted_at=at)
    )


def set_schedule(connection: Connection, domain_id: DomainId, days: int | None) -> None:
    """Store how many days a key of the domain signs; 0: until somebody asks; None: as
    the settings say."""
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(rotate_days=days)
    )


def drained(
    connection: Connection, *, now: int, drain: int, limit: int
) -> tuple[KeyId, ...]:
    """Return retired keys that no mail under way needs any more: another one took their
    place longer ago than `drain` (see `slots.drain_ms`). The operator's are among them."""
    taken_over = (
        select(func.min(_later.activated_at))
        .where(
            _later.domain_id.is_not_distinct_from(_key.domain_id),  # NULL: the operator
            _later.algorithm == _key.algorithm,
            _later.activated_at > func.coalesce(_key.activated_at, 0),
        )
        .scalar_subquery()
    )
    query = (
        select(_key.id)
        .where(_key.state == KeyState.RETIRING.value, taken_over <= now - drain)
        .order_by(_key.id)
        .limit(limit)
    )
    return tuple(KeyId(one) for one in connection.scalars(query))


def outlived(
    connection: Connection, *, now: int, drain: int, limit: int
) -> tuple[KeyId, ...]:
    """Return revoked keys whose empty p= has been published for over `drain`: no
    signature of theirs counts any more, whatever DNS says."""
    query = (
        select(_key.id)
        .where(_key.state == KeyState.REVOKED.value, _key.revoked_at <= now - drain)
        .order_by(_key.id)
        .limit(limit)
    )
    return tuple(KeyId(one) for one in connection.scalars(query))


def withdraw(
    connection: Connection, key: PublicKey, domain_id: DomainId | None
) -> None:
    """Let the empty p= of a revoked key be published no more: its slot is as new."""
    bump_for_domain(connection, domain_id)
    move_keys(connection, (key,), state=KeyState.WITHDRAWN.value)


def _is_old(now: int, every_days: int) -> ColumnElement[bool]:
    unattended = every_days if every_days > 0 else None
    days = func.coalesce(_domain.rotate_days, unattended)
    by_itself = or_(_domain.rotate_days > 0, _domain.mode.in_(_UNATTENDED))
    until = _key.activated_at + cast(days, BigInteger) * DAY_MS  # over 32 bits
    return and_(by_itself, days > 0, until <= now)


def _due(state: DomainState) -> RotationDue | None:
    keys = [one for one in state.settings.keys if one.algorithm is Algorithm.RSA]
    active = next((one for one in keys if one.state is KeyState.ACTIVE), None)
    if active is None:
        return None
    ready = next((one for one in keys if one.state is KeyState.NEXT), None)
    return RotationDue(state, active, ready)
