"""The keys of an installation with the dates of their lives, for whoever judges them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from soboo_mta.identity.state import DomainSettings, PublicKey
from soboo_mta.store import schema
from soboo_mta.tenancy.domains import current_keys, to_public_key, views

_key = schema.dkim_key.c


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """One key and its dates (unix ms). `settings` None: the operator's.

    `retired_at` is when another key of its kind took its place; None where none did.
    `is_current` False: a revoked key whose slot has another, or one that was withdrawn.
    """

    key: PublicKey
    settings: DomainSettings | None
    created_at: int
    activated_at: int | None
    retired_at: int | None
    revoked_at: int | None
    is_current: bool


def key_histories(connection: Connection) -> tuple[KeyHistory, ...]:
    """Return all keys ever made of the operator and of the domains that were not
    released, in order of their making."""
    settings = {
        int(view.settings.domain_id): view.settings for view in views(connection)
    }
    rows = connection.execute(select(schema.dkim_key).order_by(_key.id)).all()
    keys: defaultdict[int | None, list[PublicKey]] = defaultdict(list)
    activations: defaultdict[tuple[int | None, str], list[int]] = defaultdict(list)
    for row in rows:
        keys[row.domain_id].append(to_public_key(row))
        if row.activated_at is not None:
            activations[row.domain_id, row.algorithm].append(row.activated_at)
    current = {key.key_id for some in keys.values() for key in current_keys(some)}
    return tuple(
        KeyHistory(
            key=to_public_key(row),
            settings=None if row.domain_id is None else settings[row.domain_id],
            created_at=row.created_at,
            activated_at=row.activated_at,
            retired_at=_retired_at(
                row.activated_at, activations[row.domain_id, row.algorithm]
            ),
            revoked_at=row.revoked_at,
            is_current=row.id in current,
        )
        for row in rows
        if row.domain_id is None or row.domain_id in settings
    )


def _retired_at(activated_at: int | None, activations: Iterable[int]) -> int | None:
    if activated_at is None:
        return None
    return min((at for at in activations if at > activated_at), default=None)
