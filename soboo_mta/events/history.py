"""What happened to a domain, as its events tell it.

Kept as long as all events are ([retention] keep). A name that was released and came back
has one history.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Row, select

from soboo_mta.events.event import EventKind
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.schema import event


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEvent:
    """One event about a domain. `at` is unix ms; `detail` as it was recorded."""

    at: int
    kind: EventKind
    tenant: TenantId | None
    actor: str
    detail: Mapping[str, object]


def domain_history(
    connection: Connection, name: DnsName, *, tenant: TenantId | None, limit: int
) -> tuple[PastEvent, ...]:
    """Return the last `limit` events about a domain, oldest first; of one tenant's where
    it is given."""
    wanted = select(event).where(event.c.domain == str(name))
    if tenant is not None:
        wanted = wanted.where(event.c.tenant_id == tenant)
    rows = connection.execute(wanted.order_by(event.c.id.desc()).limit(limit)).all()
    return tuple(_past(row) for row in reversed(rows))


def _past(row: Row[tuple[object, ...]]) -> PastEvent:
    one = row._mapping
    return PastEvent(
        at=one["at"],
        kind=EventKind(one["kind"]),
        tenant=None if one["tenant_id"] is None else TenantId(one["tenant_id"]),
        actor=one["actor"],
        detail=json.loads(one["detail"]),
    )
