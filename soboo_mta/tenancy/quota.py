"""What a tenant may still send in this hour and this day, exact over all workers.

Recipients are leased from the store in blocks, so that most messages ask no one: the
blocks taken never add up to more than the quota. A block ends with its period; what a
worker leased and did not use by then is lost to the tenant, so blocks are small against
the quota.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from soboo_mta.mail.ids import TenantId
from soboo_mta.ports import Clock
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import Tenant
from soboo_mta.tenancy.directory import Directory

_use = schema.quota_use.c
_UNLIMITED = 1 << 62


class Period(StrEnum):
    """What a quota counts over; both begin on the full hour and day of UTC."""

    HOUR = "hour"
    DAY = "day"


_LENGTH_MS = {Period.HOUR: 3_600_000, Period.DAY: 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaOptions:
    """How recipients are leased."""

    block: int = 200
    """Recipients leased at once, at most."""
    blocks_a_quota: int = 64
    """A block is at most this part of the quota."""
    refused_for: timedelta = timedelta(seconds=1)
    """After a refusal the store is not asked again for the same tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What one period's quota is asked for: `needed` now, `block` where there is room."""

    period: Period
    starts_at: int  # unix ms
    limit: int
    needed: int
    block: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Held:
    """What this process leased of one tenant's period and did not spend yet."""

    period: Period
    starts_at: int
    limit: int
    left: int


class Quota:
    """Takes recipients from tenants' quotas. One a process."""

    def __init__(
        self,
        *,
        writer: Writer,
        directory: Directory,
        clock: Clock,
        options: QuotaOptions | None = None,
    ) -> None:
        self._writer = writer
        self._directory = directory
        self._clock = clock
        self._options = options or QuotaOptions()
        self._leased: dict[tuple[TenantId, Period], _Held] = {}
        self._refused_until: dict[TenantId, float] = {}

    async def take(self, tenant: TenantId, recipients: int) -> bool:
        """Take `recipients` from the hour and the day; False, and nothing taken, where
        either would go over. A tenant that does not exist has none. May raise StoreError.
        """
        found = await self._directory.tenant(tenant)
        if found is None:
            return False
        if found.hourly_quota is None and found.daily_quota is None:
            return True
        now = self._clock.unix_ms()
        held = [self._held(found, period, now) for period in Period]
        if all(one.left >= recipients for one in held):
            for one in held:
                one.left -= recipients
            return True
        if self._clock.monotonic() < self._refused_until.get(tenant, 0.0):
            return False
        return await self._lease(tenant, held, recipients)

    def give_back(self, tenant: TenantId, recipients: int) -> None:
        """Undo a `take`: what is given back is what this process leased, so that it is
        not lost; after the end of its period there is nothing to undo."""
        now = self._clock.unix_ms()
        for period in Period:
            held = self._leased.get((tenant, period))
            if held and held.starts_at == now - now % _LENGTH_MS[period]:
                held.left += recipients

    async def _lease(
        self, tenant: TenantId, held: "Sequence[_Held]", recipients: int
    ) -> bool:
        # What is held is set aside: others must not spend it while the store is asked.
        aside = [one.left for one in held]
        for one in held:
            one.left = 0
        wants = tuple(
            self._want(one, max(recipients - left, 0))
            for one, left in zip(held, aside, strict=True)
        )
        granted: tuple[int, ...] | None = None
        try:
            granted = await self._writer.transact(lambda at: lease(at, tenant, wants))
        finally:
            more = granted or (0,) * len(held)
            spent = recipients if granted else 0
            for one, left, block in zip(held, aside, more, strict=True):
                one.left += left + block - spent
        if granted is None:
            wait = self._options.refused_for.total_seconds()
            self._refused_until[tenant] = self._clock.monotonic() + wait
        return granted is not None

    def _want(self, held: "_Held", needed: int) -> Want:
        part = held.limit // self._options.blocks_a_quota
        return Want(
            period=held.period,
            starts_at=held.starts_at,
            limit=held.limit,
            needed=needed,
            block=max(needed, min(self._options.block, part)) if needed else 0,
        )

    def _held(self, tenant: Tenant, period: Period, now: int) -> "_Held":
        starts_at = now - now % _LENGTH_MS[period]
        limit = _limit(tenant, period)
        held = self._leased.get((tenant.tenant_id, period))
        if held is None or (held.starts_at, held.limit) != (starts_at, limit):
            # A changed limit ends the block: a lowered one holds at once.
            left = _UNLIMITED if limit == _UNLIMITED else 0
            held = _Held(period=period, starts_at=starts_at, limit=limit, left=left)
            self._leased[tenant.tenant_id, period] = held
        return held


def lease(
    connection: Connection, tenant: TenantId, wants: Sequence[Want]
) -> tuple[int, ...] | None:
    """Take what each want needs, and up to its block where there is room; None, and
    nothing taken, where one period has less left than is needed."""
    owner = select(schema.tenant.c.id).where(schema.tenant.c.id == tenant)
    if connection.execute(owner.with_for_update()).first() is None:
        return None  # the lock puts workers of one tenant in order (PostgreSQL)
    granted: list[int] = []
    for want in wants:
        room = want.limit - _taken(connection, tenant, want)
        if want.needed > room:
            return None
        granted.append(min(want.block, room))
    for want, amount in zip(wants, granted, strict=True):
        if amount:
            _add(connection, tenant, want, amount)
    return tuple(granted)


def _taken(connection: Connection, tenant: TenantId, want: Want) -> int:
    found = connection.execute(select(_use.taken).where(*_row(tenant, want))).scalar()
    return int(found or 0)


def _add(connection: Connection, tenant: TenantId, want: Want, amount: int) -> None:
    added = connection.execute(
        update(schema.quota_use)
        .where(*_row(tenant, want))
        .values(taken=_use.taken + amount)
    )
    if added.rowcount:
        return
    over = _use.starts_at < want.starts_at
    connection.execute(
        delete(schema.quota_use).where(
            _use.tenant_id == tenant, _use.period == want.period.value, over
        )
    )
    connection.execute(
        insert(schema.quota_use).values(
            tenant_id=tenant,
            period=want.period.value,
            starts_at=want.starts_at,
            taken=amount,
        )
    )


def _row(tenant: TenantId, want: Want) -> tuple[ColumnElement[bool], ...]:
    return (
        _use.tenant_id == tenant,
        _use.period == want.period.value,
        _use.starts_at == want.starts_at,
    )


def _limit(tenant: Tenant, period: Period) -> int:
    quota = tenant.hourly_quota if period is Period.HOUR else tenant.daily_quota
    return _UNLIMITED if quota is None else quota
