"""The entries in the store, each tenant's its own.

Functions over one connection; the caller owns the transaction. At most AT_ONCE entries
in one, so that nobody waits long behind it.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import the_tenant
from soboo_mta.tenancy.suppression.changes import Change, raise_generation, tell
from soboo_mta.tenancy.suppression.entry import (
    Suppression,
    SuppressionReason,
    evidence_of,
    folded,
)
from soboo_mta.tenancy.suppression.soft import forget_failures

AT_ONCE = 400  # entries of one transaction, each with its audit: others wait for it
BEGINNING = ("", "", "")
"""Where a walk through a list begins: a folded address, a stream, an address."""
_entry = schema.suppression.c


class Standing(NamedTuple):
    """What a worker holds of an entry: there may be many."""

    stream: Stream
    address: str
    because: str
    expires_at: int | None


By = dict[str, tuple[Standing, ...]]
"""Folded address → its entries."""
_Place = tuple[TenantId, str, Stream, str]


def suppress(
    connection: Connection, *entries: Suppression, at: int
) -> tuple[Suppression, ...]:
    """Keep the entries, and return those that are new or replace what stood there.

    `at` is now (unix ms); the tenants exist.
    """
    raised = raise_generation(connection)
    wanted: dict[TenantId, list[Suppression]] = {}
    for one in entries:
        wanted.setdefault(one.tenant, []).append(one)
    kept: dict[_Place, Suppression] = {}
    changes: dict[_Place, Change] = {}
    for tenant, theirs in wanted.items():
        found = entries_of(connection, tenant, {one.key for one in theirs})
        before = {_place(one): one for one in found}
        for one in theirs:
            place = _place(one)
            if one.replaces(kept.get(place) or before.get(place), at):
                kept[place] = one
                changes[place] = Change.REPLACED if place in before else Change.ADDED
    if kept:
        connection.execute(_PUT, [_row(one) for one in kept.values()])
    told = ((changes[place], one) for place, one in kept.items())
    tell(connection, raised, told, at=at)
    return tuple(kept.values())


def remove_suppression(
    connection: Connection,
    tenant: TenantId,
    address: Mailbox,
    *,
    stream: Stream | None,
    ignore_case: bool,
    because: str,
    actor: str,
    at: int,
) -> tuple[Suppression, ...]:
    """Let the tenant's mail go to `address` again: all of it (`stream` None), or as far
    as the entry of one stream forbade it. Returns what went; failures that were counted
    are forgotten too."""
    raised = raise_generation(connection)
    the_tenant(connection, tenant)
    gone = tuple(
        one
        for one in entries_of(connection, tenant, {folded(address)})
        if (ignore_case or one.address == address) and stream in (None, one.stream)
    )
    if gone:
        connection.execute(_REMOVE, [_names(one) for one in gone])
    forget_failures(connection, tenant, folded(address))
    told = ((Change.REMOVED, one) for one in gone)
    tell(connection, raised, told, at=at, actor=actor, because=because)
    return gone


def list_suppressions(
    connection: Connection,
    tenant: TenantId,
    *,
    after: tuple[str, str, str] = BEGINNING,
    limit: int = AT_ONCE,
) -> tuple[Suppression, ...]:
    """Return a page of the tenant's entries in their order, those behind `after`."""
    the_tenant(connection, tenant)
    page = {
        "whose": tenant,
        **dict(zip(("key", "stream", "address"), after, strict=True)),
    }
    return tuple(map(_entry_of, connection.execute(_PAGE.limit(limit), page)))


def place_in_list(entry: Suppression) -> tuple[str, str, str]:
    """Return the place of an entry, for the page behind it."""
    return (entry.key, entry.stream, str(entry.address))


def count_suppressions(connection: Connection, tenant: TenantId) -> int:
    """Return how many entries the tenant's list has."""
    return connection.scalar(_SIZE, {"whose": tenant}) or 0


def entries_of(
    connection: Connection, tenant: TenantId, keys: Iterable[str]
) -> tuple[Suppression, ...]:
    """Return the entries of some folded addresses, those that are over too."""
    wanted = {"whose": tenant, "found_by": list(keys)}
    return tuple(map(_entry_of, connection.execute(_OF_KEYS, wanted)))


def standing_of(connection: Connection, tenant: TenantId, keys: Iterable[str]) -> By:
    """Return what a worker holds of some folded addresses."""
    wanted = {"whose": tenant, "found_by": list(keys)}
    return _by_key(connection.execute(_STANDING_OF, wanted))


def whole_list(connection: Connection, tenant: TenantId) -> By:
    """Return what a worker holds of a list, which is known to be short."""
    return _by_key(connection.execute(_WHOLE, {"whose": tenant}))


def expire_suppressions(connection: Connection, *, now: int) -> int:
    """Delete a transaction's worth of entries that are over, with their audit."""
    over = tuple(map(_entry_of, connection.execute(_OVER, {"now": now})))
    if over:
        raised = raise_generation(connection)
        connection.execute(_REMOVE, [_names(one) for one in over])
        told = ((Change.EXPIRED, one) for one in over)
        tell(connection, raised, told, at=now, actor="sweep")
    return len(over)


def _place(one: Suppression) -> _Place:
    return (one.tenant, one.key, one.stream, str(one.address))


def _names(one: Suppression) -> dict[str, object]:
    names = ("whose", "found_by", "of_stream", "exactly")
    return dict(zip(names, _place(one), strict=True))


def _row(one: Suppression) -> dict[str, object]:
    return {
        "tenant_id": one.tenant,
        "key": one.key,
        "stream": one.stream,
        "address": str(one.address),
        "reason": one.reason.value,
        "because": one.because,
        "evidence": str(one.evidence),
        "actor": one.actor,
        "since": one.since,
        "expires_at": one.expires_at,
    }


# A row's columns have types of their own: Any.
def _by_key(rows: Iterable[Row[Any]]) -> By:
    found: By = {}
    for row in rows:
        stream = Stream(row.stream)
        one = Standing(stream, row.address, row.because, row.expires_at)
        found[row.key] = (*found.get(row.key, ()), one)
    return found


def _entry_of(row: Row[Any]) -> Suppression:
    return Suppression(
        tenant=TenantId(row.tenant_id),
        address=parse_mailbox(row.address),
        reason=SuppressionReason(row.reason),
        because=row.because,
        actor=row.actor,
        since=row.since,
        stream=Stream(row.stream),
        evidence=evidence_of(json.loads(row.evidence)),
        expires_at=row.expires_at,
    )


_WHOSE = _entry.tenant_id == bindparam("whose")
_KEY = [column.name for column in schema.suppression.primary_key]
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert(schema.suppression)
_PUT = _insert.on_conflict_do_update(
    index_elements=_KEY,
    set_={
        column.name: column for column in _insert.excluded if column.name not in _KEY
    },
)
_REMOVE = delete(schema.suppression).where(
    _WHOSE,
    _entry.key == bindparam("found_by"),
    _entry.stream == bindparam("of_stream"),
    _entry.address == bindparam("exactly"),
)
_OF_THESE = _entry.key.in_(bindparam("found_by", expanding=True))
_OF_KEYS = select(schema.suppression).where(_WHOSE, _OF_THESE)
_WHOLE = select(
    _entry.key, _entry.stream, _entry.address, _entry.because, _entry.expires_at
).where(_WHOSE)
_STANDING_OF = _WHOLE.where(_OF_THESE)
_PAGE = (
    select(schema.suppression)
    .where(
        _WHOSE,
        tuple_(_entry.key, _entry.stream, _entry.address)
        > tuple_(bindparam("key"), bindparam("stream"), bindparam("address")),
    )
    .order_by(_entry.key, _entry.stream, _entry.address)
)
_SIZE = select(func.count()).select_from(schema.suppression).where(_WHOSE)
_OVER = (
    select(schema.suppression)
    .where(_entry.expires_at <= bindparam("now"))
    .order_by(_entry.expires_at)
    .limit(AT_ONCE)
)
