"""What the tally says: of one domain's mail, and of who is complained of."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.store.schema import plan, sending_domain, sent_tally

_SWEPT_AT_ONCE = 500  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Mail of one domain to one provider ("": none that the rules know), in recipients."""

    tenant: TenantId
    domain_id: DomainId
    provider: str
    delivered: int
    complaints: int


def sent_since(connection: Connection, first_day: int) -> tuple[Sent, ...]:
    """Return what was sent and complained of from that day (UTC, since 1970) on."""
    return tuple(
        Sent(
            tenant=TenantId(row.tenant_id),
            domain_id=DomainId(row.domain_id),
            provider=row.provider,
            delivered=int(row.delivered),
            complaints=int(row.complaints),
        )
        for row in connection.execute(_SENT_SINCE, {"first": first_day})
    )


def sent_from(
    connection: Connection, *, domain: Domain, first_day: int, last_day: int
) -> int:
    """Return how many recipients the domain's mail was delivered to, by whichever tenant,
    between two days inclusive."""
    return sum(_by_plan(connection, domain, first_day, last_day).values())


def sent_by_selector(
    connection: Connection, *, domain: Domain, first_day: int, last_day: int
) -> Mapping[tuple[Domain, DnsName], int]:
    """Return the same by (d=, selector) of the signatures; mail with two counts twice."""
    found = Counter[tuple[Domain, DnsName]]()
    by_plan = _by_plan(connection, domain, first_day, last_day)
    for plan_id, times in by_plan.items():
        detail = connection.scalar(_PLAN, {"this": plan_id})
        for one in json.loads(detail)["signatures"] if detail else ():
            found[Domain(one["d"]), DnsName(one["s"])] += times
    return found


def forget_days(connection: Connection, before: int) -> int:
    """Delete some of what is of days before that one; return how many rows, 0 when done."""
    return connection.execute(_FORGET, {"before": before}).rowcount


def _by_plan(
    connection: Connection, domain: Domain, first_day: int, last_day: int
) -> dict[int, int]:
    span = {"name": str(domain), "first": first_day, "last": last_day}
    rows = connection.execute(_BY_PLAN, span)
    return {row.plan_id: int(row.delivered) for row in rows}


_SENT_SINCE = (
    select(
        sent_tally.c.tenant_id,
        sent_tally.c.domain_id,
        sent_tally.c.provider,
        func.sum(sent_tally.c.delivered).label("delivered"),
        func.sum(sent_tally.c.complaints).label("complaints"),
    )
    .where(sent_tally.c.day >= bindparam("first"))
    .group_by(sent_tally.c.tenant_id, sent_tally.c.domain_id, sent_tally.c.provider)
)
_BY_PLAN = (
    select(sent_tally.c.plan_id, func.sum(sent_tally.c.delivered).label("delivered"))
    .join(sending_domain, sending_domain.c.id == sent_tally.c.domain_id)
    .where(
        sending_domain.c.name == bindparam("name"),
        sent_tally.c.day >= bindparam("first"),
        sent_tally.c.day <= bindparam("last"),
    )
    .group_by(sent_tally.c.plan_id)
)
_PLAN = select(plan.c.detail).where(plan.c.id == bindparam("this"))
_key = tuple_(*sent_tally.primary_key.columns)
_FORGET = delete(sent_tally).where(
    _key.in_(
        select(*sent_tally.primary_key.columns)
        .where(sent_tally.c.day < bindparam("before"))
        .limit(_SWEPT_AT_ONCE)
    )
)
