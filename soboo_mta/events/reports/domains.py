"""Whose domains a report is about, and which signatures are ours: what the store knows of
the names in it. Functions over one connection; nothing is changed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BindParameter, Connection, bindparam, select

from soboo_mta.events.reports.dmarc import Signature
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.store.schema import dkim_key, sending_domain

MAX_NAMES: Final = 300  # of one report that are looked for: a stranger wrote them


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """A domain as one tenant set it up, at `created_at` (unix ms). `zone` is what is
    delegated to us, or None."""

    domain_id: DomainId
    tenant: TenantId
    name: Domain
    zone: Domain | None
    is_verified: bool
    created_at: int


def set_up(connection: Connection, names: Collection[Domain]) -> tuple[SetUp, ...]:
    """Return the sending domains of these names that were not released; of more than
    MAX_NAMES names the first are looked for."""
    wanted = list(dict.fromkeys(names))[:MAX_NAMES]
    rows = connection.execute(_SET_UP, {"names": wanted}) if wanted else ()
    return tuple(
        SetUp(
            domain_id=DomainId(row.id),
            tenant=TenantId(row.tenant_id),
            name=Domain(row.name),
            zone=None if row.zone is None else Domain(row.zone),
            is_verified=row.verified_at is not None or bool(row.assume_verified),
            created_at=row.created_at,
        )
        for row in rows
    )


def our_signatures(
    connection: Connection, domains: Collection[SetUp], operator: Domain
) -> frozenset[Signature]:
    """Return each d= and selector under which mail of these domains was ever signed here:
    the domain's own, its zone's, the operator's."""
    by_id = {one.domain_id: one for one in domains}
    found: set[Signature] = set()
    if by_id:
        rows = connection.execute(_KEYS, {"ids": list(by_id)})
        for row in rows:
            one = by_id[DomainId(row.domain_id)]
            selector = DnsName(row.selector)
            found.add((one.name, selector))
            if one.zone is not None:
                found.add((one.zone, selector))
    selectors = connection.scalars(_OPERATORS)
    return frozenset(found | {(operator, DnsName(one)) for one in selectors})


_names: BindParameter[str] = bindparam("names", expanding=True)
_ids: BindParameter[int] = bindparam("ids", expanding=True)
_SET_UP = (
    select(
        sending_domain.c.id,
        sending_domain.c.tenant_id,
        sending_domain.c.name,
        sending_domain.c.zone,
        sending_domain.c.verified_at,
        sending_domain.c.assume_verified,
        sending_domain.c.created_at,
    )
    .where(sending_domain.c.name.in_(_names), sending_domain.c.released_at.is_(None))
    .order_by(sending_domain.c.id)
)
_KEYS = select(dkim_key.c.domain_id, dkim_key.c.selector).where(
    dkim_key.c.domain_id.in_(_ids)
)
_OPERATORS = select(dkim_key.c.selector).where(dkim_key.c.domain_id.is_(None))
