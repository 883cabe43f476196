"""The changes of all lists, in order: the audit of each address, and what workers follow.

Whatever changes a list or a count raises the generation first: its row's lock puts changes
in order, and two that count one address see each other. The change is written under it, so
that a worker reads of what changed and nothing else.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.store import schema
from soboo_mta.tenancy.suppression.entry import (
    Evidence,
    Suppression,
    SuppressionReason,
    evidence_of,
    folded,
)

_AT_ONCE = 1_000  # rows of one transaction
_change = schema.suppression_change.c
_list = schema.suppression_list.c
_generation = schema.suppression_generation.c


class Change(StrEnum):
    """What happened to an entry."""

    ADDED = "added"
    REPLACED = "replaced"  # by one that lasts longer, or says more
    REMOVED = "removed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastChange:
    """One change, as the audit has it; of a removal `because` says why."""

    at: int
    change: Change
    stream: Stream
    address: Mailbox
    reason: SuppressionReason
    because: str
    evidence: Evidence
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """What is said of one tenant's list: its size, and the generation that changed it."""

    tenant: TenantId
    generation: int
    entries: int


def raise_generation(connection: Connection) -> int:
    """Raise the generation, holding its lock until the transaction ends."""
    return int(connection.execute(_RAISE).scalar_one())


def generation(connection: Connection) -> int:
    """Return the generation."""
    return int(connection.execute(_SHOWN).scalar_one())


def tell(
    connection: Connection,
    raised: int,
    changes: Iterable[tuple[Change, Suppression]],
    *,
    at: int,
    actor: str | None = None,
    because: str | None = None,
) -> None:
    """Write down what changed under the generation `raised`; `actor` and `because` stand
    for the entries' own where somebody else did it, for another reason."""
    rows: list[dict[str, object]] = []
    sizes: dict[TenantId, int] = {}
    for change, one in changes:
        more = {Change.ADDED: 1, Change.REPLACED: 0}.get(change, -1)
        sizes[one.tenant] = sizes.get(one.tenant, 0) + more
        row = {
            "generation": raised,
            "at": at,
            "tenant_id": one.tenant,
            "key": one.key,
            "stream": one.stream,
            "address": str(one.address),
            "change": change.value,
            "reason": one.reason.value,
            "because": one.because if because is None else because,
            "evidence": str(one.evidence),
            "actor": one.actor if actor is None else actor,
        }
        rows.append(row)
    if rows:
        connection.execute(_TELL, rows)
        states: list[dict[str, object]] = [
            {"tenant_id": tenant, "generation": raised, "entries": more}
            for tenant, more in sizes.items()
        ]
        connection.execute(_COUNT, states)


def history(
    connection: Connection, tenant: TenantId, address: Mailbox, *, limit: int
) -> tuple[PastChange, ...]:
    """Return the last changes to the address in the tenant's list, the oldest first."""
    this = {"whose": tenant, "found_by": folded(address)}
    rows = connection.execute(_HISTORY.limit(limit), this).all()
    return tuple(
        PastChange(
            at=row.at,
            change=Change(row.change),
            stream=Stream(row.stream),
            address=parse_mailbox(row.address),
            reason=SuppressionReason(row.reason),
            because=row.because,
            evidence=evidence_of(json.loads(row.evidence)),
            actor=row.actor,
        )
        for row in reversed(rows)
    )


def changed_lists(connection: Connection, seen: int) -> tuple[ListState, ...]:
    """Return the lists that changed after generation `seen`."""
    return tuple(
        ListState(
            tenant=TenantId(row.tenant_id),
            generation=row.generation,
            entries=row.entries,
        )
        for row in connection.execute(_CHANGED_LISTS, {"seen": seen})
    )


def changed_keys(
    connection: Connection, seen: int, *, most: int
) -> Mapping[TenantId, set[str]] | None:
    """Return the folded addresses that changed after generation `seen`, by tenant; None
    where that were over `most` changes."""
    rows = connection.execute(_CHANGED_KEYS.limit(most + 1), {"seen": seen}).all()
    if len(rows) > most:
        return None
    found: dict[TenantId, set[str]] = {}
    for row in rows:
        found.setdefault(TenantId(row.tenant_id), set()).add(row.key)
    return found


def forget_changes(connection: Connection, *, before: int) -> int:
    """Delete a transaction's worth of changes from before that time (unix ms)."""
    old = [row.id for row in connection.execute(_OLDEST) if row.at < before]
    connection.execute(_FORGET, {"gone": old})
    return len(old)


_SHOWN = select(_generation.generation)
_RAISE = (
    update(schema.suppression_generation)
    .values(generation=_generation.generation + 1)
    .returning(_generation.generation)
)
_TELL = insert(schema.suppression_change)
# PostgreSQL's form: SQLite's compiler writes the same.
_insert_list = insert_or(schema.suppression_list)
_COUNT = _insert_list.on_conflict_do_update(
    index_elements=["tenant_id"],
    set_={
        "generation": _insert_list.excluded.generation,
        "entries": _list.entries + _insert_list.excluded.entries,
    },
)
_HISTORY = (
    select(schema.suppression_change)
    .where(
        _change.tenant_id == bindparam("whose"), _change.key == bindparam("found_by")
    )
    .order_by(_change.id.desc())
)
_CHANGED_LISTS = (
    select(schema.suppression_list)
    .where(_list.generation > bindparam("seen"))
    .order_by(_list.generation)
)
_CHANGED_KEYS = select(_change.tenant_id, _change.key).where(
    _change.generation > bindparam("seen")
)
# By the key, from the oldest: a look at the times alone would read all that is young.
_OLDEST = select(_change.id, _change.at).order_by(_change.id).limit(_AT_ONCE)
_FORGET = delete(schema.suppression_change).where(
    _change.id.in_(bindparam("gone", expanding=True))
)
