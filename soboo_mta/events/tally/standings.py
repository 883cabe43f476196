"""How complaints stand: one row for each tenant, domain and provider that is complained of
more than is good."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    literal_column,
    select,
)
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


def keep_standing(connection: Connection, standing: Standing, *, now: int) -> None:
    """Write how a subject stands at `now` (unix ms); one that is good and not spared is no
    row.

    Until when it is spared is an operator's word, which may be newer than what the standing
    was judged by: it stays, until it is over.
    """
    subject = standing.subject
    row = _row(subject) | {
        "level": standing.level.value,
        "complaints": standing.complaints,
        "delivered": standing.delivered,
        "since": standing.since,
        "now": now,
    }
    connection.execute(_KEEP, row)
    if standing.level is Level.GOOD:
        this = {"of": subject.scope.value, "whose": subject.name}
        connection.execute(_FORGET, this)


def spare(connection: Connection, subject: Subject, *, until: int, now: int) -> None:
    """Let a subject's mail go until then (unix ms), whatever is complained of."""
    row = _row(subject) | {"since": now, "spared_until": until}
    connection.execute(_SPARE, row)


def _row(subject: Subject) -> dict[str, object]:
    return {
        "scope": subject.scope.value,
        "subject": subject.name,
        "tenant_id": subject.tenant,
        "level": Level.GOOD.value,
        "complaints": 0,
        "delivered": 0,
        "spared_until": 0,
    }


_ALL = select(complaint_standing)
_THIS = and_(
    complaint_standing.c.scope == bindparam("of"),
    complaint_standing.c.subject == bindparam("whose"),
)
_FORGET = delete(complaint_standing).where(
    _THIS,
    complaint_standing.c.level == Level.GOOD.value,
    complaint_standing.c.spared_until == 0,
)
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert_or(complaint_standing)
_KEEP = _insert.on_conflict_do_update(
    index_elements=["scope", "subject"],
    set_={
        name: _insert.excluded[name]
        for name in ("tenant_id", "level", "complaints", "delivered", "since")
    }
    | {
        "spared_until": case(
            (
                complaint_standing.c.spared_until > bindparam("now", type_=BigInteger),
                complaint_standing.c.spared_until,
            ),
            else_=literal_column("0"),
        )
    },
)
_SPARE = _insert.on_conflict_do_update(
    index_elements=["scope", "subject"],
    set_={"spared_until": _insert.excluded.spared_until},
)
