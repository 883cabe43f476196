"""Suppressed recipients in the store, each tenant's its own.

Functions over one connection; the caller owns the transaction. Every change raises the
generation first, whose row lock puts changes in order, and leaves it in its tenant's line,
so that a worker reads of what changed and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import the_tenant

_MAX_BECAUSE = 200  # characters: it is shown in tables and replies
_entry = schema.suppression.c
_list = schema.suppression_list.c
_generation = schema.suppression_generation.c
By = dict[str, tuple[tuple[str, str], ...]]
"""Folded address → (address as given, why) of each entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One entry; `since` in unix ms."""

    tenant: TenantId
    address: str
    because: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """What is said of one tenant's list: its size, and the generation that changed it."""

    tenant: TenantId
    generation: int
    entries: int


def folded(address: Mailbox) -> str:
    """The address in lower case: what an entry is found by."""
    return f"{address.local_part.lower()}@{address.domain}"


def parse_because(text: str) -> str:
    """Return why an address is suppressed: one line."""
    if not 0 < len(text.strip()) <= _MAX_BECAUSE or not text.isprintable():
        raise FormatError(f"a reason is 1 to {_MAX_BECAUSE} printable characters")
    return text.strip()


def add_suppressions(
    connection: Connection,
    tenant: TenantId,
    addresses: Iterable[Mailbox],
    *,
    because: str,
    now: int,
) -> int:
    """Suppress `addresses` for the tenant; return how many were not before.

    TenancyError where there is no such tenant. At most 1,000 at once.
    """
    generation = _raised(connection)
    the_tenant(connection, tenant)
    rows = [
        {
            "tenant_id": tenant,
            "key": folded(address),
            "address": str(address),
            "because": parse_because(because),
            "since": now,
        }
        for address in addresses
    ]
    added = len(connection.execute(_ADD, rows).all()) if rows else 0
    _tell(connection, tenant, generation, added)
    return added


def remove_suppression(
    connection: Connection, tenant: TenantId, address: Mailbox, *, ignore_case: bool
) -> int:
    """Let the tenant's mail go to `address` again; return how many entries went."""
    generation = _raised(connection)
    the_tenant(connection, tenant)
    this: dict[str, object] = {"whose": tenant, "found_by": folded(address)}
    if ignore_case:
        removed = connection.execute(_REMOVE, this).rowcount
    else:
        exactly = _REMOVE.where(_entry.address == bindparam("exactly"))
        removed = connection.execute(
            exactly, {**this, "exactly": str(address)}
        ).rowcount
    _tell(connection, tenant, generation, -removed)
    return removed


def list_suppressions(
    connection: Connection, tenant: TenantId, *, after: str = "", limit: int = 1_000
) -> tuple[Suppression, ...]:
    """Return a page of the tenant's entries by folded address, those behind `after`."""
    the_tenant(connection, tenant)
    page = {"whose": tenant, "behind": after}
    return tuple(
        Suppression(
            tenant=tenant, address=row.address, because=row.because, since=row.since
        )
        for row in connection.execute(_PAGE.limit(limit), page)
    )


def count_suppressions(connection: Connection, tenant: TenantId) -> int:
    """Return how many entries the tenant's list has."""
    return connection.scalar(_COUNT, {"whose": tenant}) or 0


def changed_lists(connection: Connection, seen: int) -> list[ListState]:
    """Return the lists that changed after generation `seen`."""
    return [
        ListState(
            tenant=TenantId(row.tenant_id),
            generation=row.generation,
            entries=row.entries,
        )
        for row in connection.execute(_CHANGED, {"seen": seen})
    ]


def whole_list(connection: Connection, tenant: TenantId) -> By:
    """Return all entries of a list, which is known to be short."""
    found: By = {}
    for row in connection.execute(_WHOLE, {"whose": tenant}):
        found[row.key] = (*found.get(row.key, ()), (row.address, row.because))
    return found


def entries_of(
    connection: Connection, tenant: TenantId, key: str
) -> tuple[tuple[str, str], ...]:
    """Return the entries of one folded address."""
    rows = connection.execute(_OF_KEY, {"whose": tenant, "found_by": key})
    return tuple((row.address, row.because) for row in rows)


def _raised(connection: Connection) -> int:
    return int(connection.execute(_RAISE).scalar_one())


def _tell(connection: Connection, tenant: TenantId, generation: int, more: int) -> None:
    row: Mapping[str, object] = {
        "tenant_id": tenant,
        "generation": generation,
        "entries": more,
    }
    connection.execute(_TELL, row)


_WHOSE = _entry.tenant_id == bindparam("whose")
_RAISE = (
    update(schema.suppression_generation)
    .values(generation=_generation.generation + 1)
    .returning(_generation.generation)
)
# PostgreSQL's form: SQLite's compiler writes the same.
_ADD = (
    insert(schema.suppression)
    .on_conflict_do_nothing(index_elements=["tenant_id", "key", "address"])
    .returning(_entry.key)
)
_insert_list = insert(schema.suppression_list)
_TELL = _insert_list.on_conflict_do_update(
    index_elements=["tenant_id"],
    set_={
        "generation": _insert_list.excluded.generation,
        "entries": _list.entries + _insert_list.excluded.entries,
    },
)
_OF_KEY = select(_entry.address, _entry.because).where(
    _WHOSE, _entry.key == bindparam("found_by")
)
_REMOVE = delete(schema.suppression).where(_WHOSE, _entry.key == bindparam("found_by"))
_WHOLE = select(_entry.key, _entry.address, _entry.because).where(_WHOSE)
_PAGE = (
    select(schema.suppression)
    .where(_WHOSE, _entry.key > bindparam("behind"))
    .order_by(_entry.key, _entry.address)
)
_COUNT = select(_list.entries).where(_list.tenant_id == bindparam("whose"))
_CHANGED = (
    select(schema.suppression_list)
    .where(_list.generation > bindparam("seen"))
    .order_by(_list.generation)
)
