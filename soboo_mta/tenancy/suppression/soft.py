"""Soft failures, counted for each address until they are too many in some days.

One row an address holds the last of them. A worker's view knows which addresses have one,
so that a delivery forgets them without a look into the store.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import TenantId
from soboo_mta.store import schema
from soboo_mta.tenancy.suppression.changes import raise_generation
from soboo_mta.tenancy.suppression.entry import Evidence, evidence_of, folded

_AT_ONCE = 1_000  # rows of one transaction
_failure = schema.soft_failure.c
Counted = tuple[TenantId, str]
"""An address with failures that are counted: whose recipient, folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftFailure:
    """One failure that is counted, at `at` (unix ms)."""

    at: int
    evidence: Evidence

    def is_same(self, other: "SoftFailure") -> bool:
        """Whether both tell of one failure: of the same recipient of a message."""
        mine, theirs = self.evidence, other.evidence
        return mine.message is not None and (
            (mine.message, mine.position) == (theirs.message, theirs.position)
        )


def soft_failures(
    connection: Connection, tenant: TenantId, address: Mailbox, *, since: int = 0
) -> tuple[SoftFailure, ...]:
    """Return the failures of an address that are counted, those after `since`."""
    this = {"whose": tenant, "found_by": folded(address)}
    text = connection.scalar(_OF_KEY, this)
    failures = (
        SoftFailure(at=at, evidence=evidence_of(known))
        for at, known in json.loads(text or "[]")
    )
    return tuple(one for one in failures if one.at > since)


def keep_failures(
    connection: Connection,
    tenant: TenantId,
    address: Mailbox,
    failures: Sequence[SoftFailure],
    *,
    raised: int,
) -> None:
    """Keep these as the address's failures, counted under the generation `raised`."""
    row = {
        "tenant_id": tenant,
        "key": folded(address),
        "generation": raised,
        "last_at": failures[-1].at,
        "failures": json.dumps([(one.at, one.evidence.as_json()) for one in failures]),
    }
    connection.execute(_PUT, row)


def forget_failures(connection: Connection, tenant: TenantId, key: str) -> None:
    """Forget the failures of a folded address; the caller has raised the generation."""
    connection.execute(_FORGET, {"whose": tenant, "found_by": key})


def forgive(connection: Connection, tenant: TenantId, key: str) -> None:
    """Forget the failures of a folded address: it took mail."""
    raise_generation(
        connection
    )  # its lock first, as everywhere: nobody waits in a circle
    forget_failures(connection, tenant, key)


def counted_since(
    connection: Connection, seen: int, *, most: int
) -> tuple[Counted, ...]:
    """Return the addresses that failed softly after generation `seen`: the last `most`,
    the latest first."""
    rows = connection.execute(_COUNTED.limit(most), {"seen": seen})
    return tuple((TenantId(row.tenant_id), row.key) for row in rows)


def forget_soft(connection: Connection, *, now: int, within: timedelta) -> int:
    """Delete a transaction's worth of rows whose last failure does not count any more."""
    before = {"before": now - within // timedelta(milliseconds=1)}
    old = [(row.tenant_id, row.key) for row in connection.execute(_OLD, before)]
    if old:
        names = ("whose", "found_by")
        raise_generation(connection)
        connection.execute(_FORGET, [dict(zip(names, one, strict=True)) for one in old])
    return len(old)


_THIS = (
    _failure.tenant_id == bindparam("whose"),
    _failure.key == bindparam("found_by"),
)
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert(schema.soft_failure)
_PUT = _insert.on_conflict_do_update(
    index_elements=["tenant_id", "key"],
    set_={
        name: _insert.excluded[name] for name in ("generation", "last_at", "failures")
    },
)
_FORGET = delete(schema.soft_failure).where(*_THIS)
_OF_KEY = select(_failure.failures).where(*_THIS)
_COUNTED = (
    select(_failure.tenant_id, _failure.key)
    .where(_failure.generation > bindparam("seen"))
    .order_by(_failure.generation.desc())
)
_OLD = (
    select(_failure.tenant_id, _failure.key)
    .where(_failure.last_at <= bindparam("before"))
    .limit(_AT_ONCE)
)
