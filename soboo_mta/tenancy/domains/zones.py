"""What customers keep in the zones delegated to us, in the store: records of their own,
and the DMARC policy of a zone that is the From domain.

Functions over one connection; the caller owns the transaction. What may stand beside our
own records is `identity.zone`'s to say.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, Row, delete, insert, select, update

from soboo_mta.identity.state import DomainSettings, Mode, Operator
from soboo_mta.identity.zones.zone import ZoneOptions, zone_records
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import DomainId
from soboo_mta.ports import ZoneRecord
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains.rows import bump_for_domain

_domain = schema.sending_domain.c
_record = schema.zone_record.c
_ALL = select(schema.zone_record).order_by(
    _record.domain_id, _record.owner, _record.kind, _record.value
)


def own_records(connection: Connection, domain_id: DomainId) -> tuple[ZoneRecord, ...]:
    """Return the customer's own records in the zone of one domain, by name."""
    rows = connection.execute(_ALL.where(_record.domain_id == domain_id))
    return tuple(map(_to_record, rows))


def every_own_record(
    connection: Connection,
) -> Mapping[DomainId, tuple[ZoneRecord, ...]]:
    """Return the own records of every domain that has some."""
    found: defaultdict[DomainId, list[ZoneRecord]] = defaultdict(list)
    for row in connection.execute(_ALL):
        found[DomainId(row._mapping["domain_id"])].append(_to_record(row))
    return {domain: tuple(records) for domain, records in found.items()}


def add_own_record(
    connection: Connection,
    settings: DomainSettings,
    record: ZoneRecord,
    operator: Operator,
    options: ZoneOptions,
) -> None:
    """Keep one more record of the customer's own.

    Raises TenancyError for a domain without a zone and for a record that is there, and
    FormatError where it can't stand beside the others and ours.
    """
    _refuse_without_zone(settings)
    bump_for_domain(connection, settings.domain_id)  # first: it puts writers in a row
    held = own_records(connection, settings.domain_id)
    if any(_place(one) == _place(record) for one in held):
        raise TenancyError(
            f"{record.owner} {record.kind} {record.value} is there already"
        )
    extended = replace(options, extra=(*held, record))
    zone_records(settings, operator, extended)
    connection.execute(
        insert(schema.zone_record).values(
            domain_id=settings.domain_id,
            owner=str(record.owner),
            kind=record.kind,
            value=record.value,
            ttl=record.ttl,
        )
    )


def remove_own_record(
    connection: Connection, settings: DomainSettings, record: ZoneRecord
) -> None:
    """Let one of the customer's own records go, whatever its TTL; TenancyError where
    there is no such one."""
    _refuse_without_zone(settings)
    bump_for_domain(connection, settings.domain_id)
    gone = connection.execute(
        delete(schema.zone_record).where(
            _record.domain_id == settings.domain_id,
            _record.owner == record.owner,
            _record.kind == record.kind,
            _record.value == record.value,
        )
    )
    if not gone.rowcount:
        raise TenancyError(
            f"there is no record {record.owner} {record.kind} {record.value} of"
            f" {settings.name}: see `soboo-mta zone record list {settings.name}`"
        )


def kept_policies(connection: Connection) -> Mapping[DomainId, str]:
    """Return the DMARC records of the zones that are From domains, as far as they were
    read; "" for one that says nothing of its own."""
    rows = connection.execute(
        select(_domain.id, _domain.dmarc).where(_domain.dmarc.is_not(None))
    )
    return {DomainId(domain_id): dmarc for domain_id, dmarc in rows}


def keep_policy(connection: Connection, settings: DomainSettings, dmarc: str) -> None:
    """Let the zone say this of DMARC; TenancyError where it is not the From domain."""
    _refuse_without_zone(settings)
    if settings.home != settings.name:
        raise TenancyError(
            f"{settings.home} lies below {settings.name}, whose DMARC record is its"
            " owner's: the zone itself says p=reject"
        )
    bump_for_domain(connection, settings.domain_id)
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == settings.domain_id)
        .values(dmarc=dmarc)
    )


def _refuse_without_zone(settings: DomainSettings) -> None:
    if settings.mode is not Mode.ZONE:
        raise TenancyError(
            f"{settings.name} is in mode {settings.mode}: no zone of it is delegated to us"
        )


def _place(record: ZoneRecord) -> tuple[DnsName, str, str]:
    return record.owner, record.kind, record.value


def _to_record(row: Row[tuple[object, ...]]) -> ZoneRecord:
    one = row._mapping
    return ZoneRecord(
        owner=DnsName(one["owner"]),
        kind=one["kind"],
        value=one["value"],
        ttl=one["ttl"],
    )
