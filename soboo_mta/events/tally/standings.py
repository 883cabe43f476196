"""How complaints stand: one row for each tenant, domain and provider that is complained of
more than is good."""

from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection, and_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.ids import TenantId
from soboo_mta.store.schema import complaint_standing


class Scope(StrEnum):
    """Whose mail a rate is about."""

    TENANT = "tenant"
    DOMAIN = "domain"  # a sending domain
    PROVIDER = "provider"  # of recipients: what all tenants sent there


class Level(StrEnum):
    """What is done about it; in rising order."""

    GOOD = "good"
    WARN = "warn"  # it is told
    SLOW = "slow"  # its mail leaves at a low rate
    HOLD = "hold"  # its mail waits

    @property
    def rank(self) -> int:
        return list(Level).index(self)

    @property
    def stops(self) -> bool:
        """Whether mail waits for it."""
        return self in (Level.SLOW, Level.HOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`name` is a tenant's id, a sending domain's number, or a provider's name; `tenant`
    is whose it is, None for a provider."""

    scope: Scope
    name: str
    tenant: TenantId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A subject's level, what it was last found by, and until when (unix ms) an operator
    spares it: it is told of then, and no more."""

    subject: Subject
    level: Level
    complaints: int
    delivered: int
    since: int  # unix ms, of the level
    spared_until: int = 0

    @property
    def share(self) -> float:
        """Complaints for each delivered recipient."""
        return self.complaints / max(1, self.delivered)


def standings(connection: Connection) -> tuple[Standing, ...]:
    """Return them all, the worst first."""
    found = (
        Standing(
            subject=Subject(
                scope=Scope(row.scope),
                name=row.subject,
                tenant=None if row.tenant_id is None else TenantId(row.tenant_id),
            ),
            level=Level(row.level),
            complaints=row.complaints,
            delivered=row.delivered,
            since=row.since,
            spared_until=row.spared_until,
        )
        for row in connection.execute(_ALL)
    )
    return tuple(sorted(found, key=lambda one: (-one.level.rank, -one.share)))


def keep_standing(connection: Connection, standing: Standing) -> None:
    """Write a standing; one that is good and not spared is no row."""
    subject = standing.subject
    if standing.level is Level.GOOD and not standing.spared_until:
        this = {"of": subject.scope.value, "whose": subject.name}
        connection.execute(_FORGET, this)
        return
    row = {
        "scope": subject.scope.value,
        "subject": subject.name,
        "tenant_id": subject.tenant,
        "level": standing.level.value,
        "complaints": standing.complaints,
        "delivered": standing.delivered,
        "since": standing.since,
        "spared_until": standing.spared_until,
    }
    connection.execute(_KEEP, row)


def spare(connection: Connection, subject: Subject, *, until: int, now: int) -> None:
    """Let a subject's mail go until then (unix ms), whatever is complained of."""
    known = {one.subject: one for one in standings(connection)}
    none = Standing(
        subject=subject, level=Level.GOOD, complaints=0, delivered=0, since=now
    )
    keep_standing(connection, replace(known.get(subject, none), spared_until=until))


_ALL = select(complaint_standing)
_THIS = and_(
    complaint_standing.c.scope == bindparam("of"),
    complaint_standing.c.subject == bindparam("whose"),
)
_FORGET = delete(complaint_standing).where(_THIS)
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert_or(complaint_standing)
_KEEP = _insert.on_conflict_do_update(
    index_elements=["scope", "subject"],
    set_={
        name: _insert.excluded[name]
        for name in (
            "tenant_id",
            "level",
            "complaints",
            "delivered",
            "since",
            "spared_until",
        )
    },
)
