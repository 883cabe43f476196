"""Released domains in the store, and names of theirs that still lead to us.

Functions over one connection; the caller owns the transaction. A released domain's row
stays for its token, which is never used again; while a look at it is due, its
`next_check_at` says when.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    func,
    insert,
    select,
    update,
)

from soboo_mta.identity.standing import RecordName
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.ports import RecordType
from soboo_mta.store import schema
from soboo_mta.tenancy.domains.rows import to_view

_domain = schema.sending_domain.c
_left = schema.left_name.c
_NEVER = (1 << 63) - 1  # unix ms: no look is due any more


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftName:
    """A name of a released domain that leads to us. Times are unix ms: when it was first
    and last seen so."""

    name: RecordName
    target: DnsName
    since: int
    seen_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedDomain:
    """A domain that was given up. `next_look_at` None: its names were clean for so many
    looks that they are left alone. `settings` has the name it had, and no keys."""

    settings: DomainSettings
    released_at: int
    clean_looks: int
    next_look_at: int | None
    left: tuple[LeftName, ...]


def released_domains(
    connection: Connection, *, tenant: TenantId | None = None
) -> tuple[ReleasedDomain, ...]:
    """Return all released domains, or one tenant's, in order of their release."""
    if tenant is None:
        return _released(connection)
    return _released(connection, _domain.tenant_id == tenant)


def released_due(
    connection: Connection, *, now: int, limit: int
) -> tuple[ReleasedDomain, ...]:
    """Return at most `limit` released domains whose next look is due."""
    due = (
        select(_domain.id)
        .where(_domain.released_at.is_not(None), _domain.next_check_at <= now)
        .order_by(_domain.next_check_at)
        .limit(limit)
    )
    return _released(connection, _domain.id.in_(due))


def store_left(
    connection: Connection,
    domain_id: DomainId,
    *,
    left: Iterable[LeftName],
    clean_looks: int,
    next_look_at: int | None,
) -> None:
    """Store what a look at a released domain's names came to."""
    connection.execute(delete(schema.left_name).where(_left.domain_id == domain_id))
    rows = [
        {
            "domain_id": domain_id,
            "owner": str(one.name.owner),
            "kind": one.name.kind.value,
            "target": str(one.target),
            "since": one.since,
            "seen_at": one.seen_at,
        }
        for one in left
    ]
    if rows:
        connection.execute(insert(schema.left_name), rows)
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(
            clean_looks=clean_looks,
            next_check_at=_NEVER if next_look_at is None else next_look_at,
        )
    )


def left_count(connection: Connection) -> int:
    """Return how many names of released domains still lead to us."""
    return connection.execute(
        select(func.count()).select_from(schema.left_name)
    ).scalar_one()


def _released(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[ReleasedDomain, ...]:
    rows = connection.execute(
        select(schema.sending_domain)
        .where(_domain.released_at.is_not(None), *conditions)
        .order_by(_domain.released_at, _domain.id)
    ).all()
    left = _left_of(connection) if rows else {}
    found = []
    for row in rows:
        one, settings = row._mapping, to_view(row, []).settings
        name = settings.name.removesuffix(f"~{settings.domain_id}")
        next_at = one["next_check_at"]
        found.append(
            ReleasedDomain(
                settings=replace(settings, name=Domain(name)),
                released_at=one["released_at"],
                clean_looks=one["clean_looks"] or 0,
                next_look_at=None if next_at == _NEVER else next_at,
                left=tuple(left.get(settings.domain_id, ())),
            )
        )
    return tuple(found)


def _left_of(connection: Connection) -> dict[DomainId, list[LeftName]]:
    found: defaultdict[DomainId, list[LeftName]] = defaultdict(list)
    for row in connection.execute(
        select(schema.left_name).order_by(_left.owner, _left.kind)
    ):
        one = row._mapping
        found[DomainId(one["domain_id"])].append(
            LeftName(
                name=RecordName(DnsName(one["owner"]), RecordType(one["kind"])),
                target=DnsName(one["target"]),
                since=one["since"],
                seen_at=one["seen_at"],
            )
        )
    return found
