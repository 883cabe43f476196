"""Tenants in the store."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Row, func, insert, select, update

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import NO_STREAM, Stream, TenantId, parse_stream
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts.generation import bump_generation

MAX_QUOTA = 2**31 - 1  # recipients; what the column holds
EVERY_STREAM: Final = Stream("*")  # that a message names
_MAX_STREAMS = 100  # of one tenant's list: it is read with the tenant
_MAX_NAME = 200  # characters: it is shown in tables
_TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_tenant = schema.tenant.c


class TenancyError(Exception):
    """What was asked cannot be done; the text says why and what to do instead."""


class SuppressedAt(StrEnum):
    """When a suppressed recipient's mail fails first; departure asks in any case."""

    RCPT = "rcpt"  # it is refused to who submits it
    RELEASE = "release"  # it is accepted, and settled as failed


class Returns(StrEnum):
    """What becomes of a tenant's returns besides their events."""

    HOME = "home"  # they are forwarded to who sent the message
    EVENTS = "events"  # nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer of the operator. Quotas are recipients; None: no limit. `reports`:
    whether its senders are told what became of their mail; those whose reverse-path is in
    none of its domains at `report_address`, and of returns first at `returns_to`. Mail of the
    streams in `unsubscribe` has an address of ours by which its recipient leaves them."""

    tenant_id: TenantId
    name: str
    suspended: bool
    weight: int
    hourly_quota: int | None
    daily_quota: int | None
    pool: str | None = None  # of egress sources, as the settings name it
    reports: bool = True
    report_address: Mailbox | None = None
    suppression: SuppressedAt = SuppressedAt.RELEASE
    returns: Returns = Returns.HOME
    returns_to: Mailbox | None = None
    unsubscribe: frozenset[Stream] = frozenset()

    @property
    def refuses_suppressed(self) -> bool:
        """Whether suppressed recipients are refused as they are submitted."""
        return self.suppression is SuppressedAt.RCPT

    def offers_unsubscribing(self, stream: Stream) -> bool:
        """Whether mail of the stream has such an address; mail without a stream, which
        nobody could leave alone, never has."""
        return stream != NO_STREAM and not self.unsubscribe.isdisjoint(
            (stream, EVERY_STREAM)
        )


def parse_tenant_id(text: str) -> TenantId:
    """Return `text` as a tenant's id: lower-case letters, digits, hyphens, up to 63."""
    if not _TENANT_ID.fullmatch(text):
        raise FormatError(
            f"{text[:60]!r} is not a tenant id: use lower-case letters, digits and "
            "inner hyphens, at most 63"
        )
    return TenantId(text)


def parse_tenant_name(text: str) -> str:
    """Return what people call a tenant: one line of text that every store can hold."""
    if len(text) > _MAX_NAME or not text.isprintable():
        raise FormatError(
            f"a tenant's name is at most {_MAX_NAME} printable characters"
        )
    return text


def parse_streams(words: Iterable[str]) -> frozenset[Stream]:
    """Return the streams of these names; "*" is each that a message names."""
    streams = frozenset(
        EVERY_STREAM if word == EVERY_STREAM else parse_stream(word) for word in words
    )
    if len(streams) > _MAX_STREAMS:
        raise FormatError(f"a tenant's list has at most {_MAX_STREAMS} streams")
    return streams


def add_tenant(connection: Connection, tenant: Tenant, *, now: int) -> None:
    """Store a new tenant; TenancyError when the id is taken."""
    bump_generation(connection, tenant.tenant_id)
    if find_tenant(connection, tenant.tenant_id):
        raise TenancyError(f"tenant {tenant.tenant_id} exists already")
    values = _tenant_values(tenant) | {"id": tenant.tenant_id, "created_at": now}
    connection.execute(insert(schema.tenant).values(values))


def change_tenant(connection: Connection, tenant: Tenant) -> None:
    """Store all that is said of the tenant as given."""
    bump_generation(connection, tenant.tenant_id)
    changed = connection.execute(
        update(schema.tenant)
        .where(_tenant.id == tenant.tenant_id)
        .values(_tenant_values(tenant))
    )
    if changed.rowcount == 0:
        raise _no_tenant(connection, tenant.tenant_id)


def find_tenant(connection: Connection, tenant_id: TenantId) -> Tenant | None:
    """Return the tenant of that id, or None."""
    return find_tenants(connection, [tenant_id]).get(tenant_id)


def find_tenants(
    connection: Connection, tenant_ids: Collection[TenantId]
) -> dict[TenantId, Tenant]:
    """Return those of these tenants that there are."""
    rows = connection.execute(select(schema.tenant).where(_tenant.id.in_(tenant_ids)))
    return {tenant.tenant_id: tenant for tenant in map(_to_tenant, rows)}


def the_tenant(connection: Connection, tenant_id: TenantId) -> Tenant:
    """As `find_tenant`; TenancyError names the tenants there are."""
    tenant = find_tenant(connection, tenant_id)
    if tenant is None:
        raise _no_tenant(connection, tenant_id)
    return tenant


def list_tenants(connection: Connection) -> tuple[Tenant, ...]:
    """Return all tenants by id."""
    rows = connection.execute(select(schema.tenant).order_by(_tenant.id))
    return tuple(_to_tenant(row) for row in rows)


def _to_tenant(row: Row[tuple[object, ...]]) -> Tenant:
    one = row._mapping
    address, home = one["report_address"], one["returns_to"]
    return Tenant(
        tenant_id=TenantId(one["id"]),
        name=one["name"],
        suspended=one["suspended"],
        weight=one["weight"],
        hourly_quota=one["hourly_quota"],
        daily_quota=one["daily_quota"],
        pool=one["pool"],
        reports=one["reports"],
        report_address=parse_mailbox(address) if address else None,
        suppression=SuppressedAt(one["suppression"]),
        returns=Returns(one["returns"]),
        returns_to=parse_mailbox(home) if home else None,
        unsubscribe=frozenset(map(Stream, one["unsubscribe"].split())),
    )


def _tenant_values(tenant: Tenant) -> dict[str, object]:
    return {
        "name": tenant.name,
        "suspended": tenant.suspended,
        "weight": tenant.weight,
        "hourly_quota": tenant.hourly_quota,
        "daily_quota": tenant.daily_quota,
        "pool": tenant.pool,
        "reports": tenant.reports,
        "report_address": str(tenant.report_address) if tenant.report_address else None,
        "suppression": tenant.suppression.value,
        "returns": tenant.returns.value,
        "returns_to": str(tenant.returns_to) if tenant.returns_to else None,
        "unsubscribe": " ".join(sorted(tenant.unsubscribe)),
    }


def _no_tenant(connection: Connection, tenant_id: TenantId) -> TenancyError:
    count = connection.execute(select(func.count()).select_from(schema.tenant)).scalar()
    hint = "see `soboo-mta tenant list`" if count else "add one with `tenant add`"
    return TenancyError(f"there is no tenant {tenant_id}: {hint}")
