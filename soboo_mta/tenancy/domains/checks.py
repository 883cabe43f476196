"""What DNS showed of sending domains, in the store; and what it proves about ownership.

Functions over one connection; the caller owns the transaction. The monitor asks which
domains are due and stores each look; a name goes to whose proof stands.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from soboo_mta.identity.facts_json import facts_to_json
from soboo_mta.identity.standing import PROOFS
from soboo_mta.identity.state import (
    DomainSettings,
    Facts,
    Fault,
    Purpose,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId
from soboo_mta.ports import RecordType
from soboo_mta.store import schema
from soboo_mta.tenancy.domains.rows import DomainView, bump_for_domain, views

_PROOFS = tuple(purpose.value for purpose in PROOFS)
_OF_KEYS = (Purpose.SELECTOR, Purpose.AUTHOR_SELECTOR)
_domain = schema.sending_domain.c
_check = schema.record_check.c


def domains_due(
    connection: Connection, *, now: int, limit: int
) -> tuple[DomainView, ...]:
    """Return at most `limit` domains whose next check is due, the longest due first."""
    due = (
        select(_domain.id)
        .where(_domain.released_at.is_(None), _domain.next_check_at <= now)
        .order_by(_domain.next_check_at)
        .limit(limit)
    )
    found = views(connection, _domain.id.in_(due))
    return tuple(sorted(found, key=lambda view: view.next_check_at))


def checks_of(connection: Connection, domain_id: DomainId) -> tuple[RecordCheck, ...]:
    """Return what the last look at each required record of a domain found."""
    rows = connection.execute(
        select(schema.record_check, _domain.next_check_at)
        .join(schema.sending_domain)
        .where(_check.domain_id == domain_id)
        .order_by(_check.purpose, _check.owner)
    )
    return tuple(_to_check(row) for row in rows)


def is_delegated(connection: Connection, domain_id: DomainId) -> bool:
    """Whether the last look saw the domain's zone delegated to its own name servers."""
    query = select(_check.owner).where(
        _check.domain_id == domain_id,
        _check.kind == RecordType.NS.value,
        _check.status == RecordStatus.GOOD.value,
    )
    return connection.execute(query.limit(1)).first() is not None


def store_check(
    connection: Connection,
    domain_id: DomainId,
    *,
    checks: Iterable[RecordCheck],
    facts: Facts,
    owned: bool,
    next_check_at: int,
    changed: bool,
    now: int,
) -> bool:
    """Store one look at a domain's records; return whether it proved ownership just now.

    `owned`: the records prove the name for this tenant. The first proof verifies the
    domain unless another tenant's proof still stands; one that has fallen gives way.
    The generation is raised when `changed` (facts that decide departures) or verified.
    """
    view = views(connection, _domain.id == domain_id)
    if not view:
        return False  # released while it was looked at
    _replace_checks(connection, domain_id, checks)
    if changed or (owned and view[0].verified_at is None):
        bump_for_domain(connection, domain_id)
    verified = (
        owned
        and view[0].verified_at is None
        and _take_over(connection, view[0].settings)
    )
    values: dict[str, object] = {
        "facts": facts_to_json(facts),
        "facts_at": facts.observed_at,
        "next_check_at": next_check_at,
    }
    if verified:
        values["verified_at"] = now
    connection.execute(
        update(schema.sending_domain).where(_domain.id == domain_id).values(values)
    )
    return verified


def check_soon(connection: Connection, domain_id: DomainId) -> None:
    """Make the monitor look at a domain at once."""
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(next_check_at=0)
    )


def postpone_check(connection: Connection, domain_id: DomainId, until: int) -> None:
    """Leave a domain alone until then (unix ms)."""
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(next_check_at=until)
    )


def _take_over(connection: Connection, settings: DomainSettings) -> bool:
    others = connection.execute(
        select(_domain.id).where(
            _domain.name == settings.name,
            _domain.id != settings.domain_id,
            _domain.verified_at.is_not(None),
            _domain.released_at.is_(None),
        )
    ).scalars()
    for other in others.all():
        if _proof_stands(connection, DomainId(other)):
            return False
        connection.execute(
            update(schema.sending_domain)
            .where(_domain.id == other)
            .values(verified_at=None)
        )
    return True


def _proof_stands(connection: Connection, domain_id: DomainId) -> bool:
    # No answer takes nobody's domain away: what was good before still counts.
    good = or_(
        _check.status == RecordStatus.GOOD.value,
        and_(
            _check.status == RecordStatus.UNKNOWN.value,
            _check.good_at.is_not(None),
        ),
    )
    query = select(_check.owner).where(
        _check.domain_id == domain_id, _check.purpose.in_(_PROOFS), good
    )
    return connection.execute(query.limit(1)).first() is not None


def _replace_checks(
    connection: Connection, domain_id: DomainId, checks: Iterable[RecordCheck]
) -> None:
    connection.execute(delete(schema.record_check).where(_check.domain_id == domain_id))
    rows = [_check_values(domain_id, check) for check in checks]
    if rows:
        connection.execute(insert(schema.record_check), rows)


def _to_check(row: Row[tuple[object, ...]]) -> RecordCheck:
    one = row._mapping
    purpose, owner = Purpose(one["purpose"]), DnsName(one["owner"])
    record = RequiredRecord(
        owner=owner,
        kind=RecordType(one["kind"]),
        value=one["expected"],
        purpose=purpose,
        selector=_selector_in(owner) if purpose in _OF_KEYS else None,
        is_required=one["is_required"],
    )
    return RecordCheck(
        record=record,
        status=RecordStatus(one["status"]),
        found=one["found"],
        cause=one["cause"],
        mend=one["mend"],
        ttl=one["ttl"],
        checked_at=one["checked_at"],
        good_at=one["good_at"],
        fault=Fault(one["fault"]),
        since=one["since"],
        server=one["server"],
        next_check_at=one["next_check_at"],
    )


def _selector_in(owner: DnsName) -> DnsName:
    return DnsName(owner.partition("._domainkey.")[0])


def _check_values(domain_id: DomainId, check: RecordCheck) -> dict[str, object]:
    return {
        "domain_id": domain_id,
        "owner": str(check.record.owner),
        "kind": check.record.kind.value,
        "purpose": check.record.purpose.value,
        "status": check.status.value,
        "expected": check.record.value,
        "found": check.found,
        "cause": check.cause,
        "mend": check.mend,
        "ttl": check.ttl,
        "checked_at": check.checked_at,
        "good_at": check.good_at,
        "fault": check.fault.value,
        "since": check.since,
        "server": check.server,
        "is_required": check.record.is_required,
    }
