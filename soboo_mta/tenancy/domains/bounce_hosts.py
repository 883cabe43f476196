"""Which names are customers' bounce hosts, where their postmaster is ours, and whose."""

from dataclasses import dataclass

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceHostOwner:
    """A tenant whose sending domain has the bounce host; others may have it too."""

    tenant: TenantId
    domain: Domain
    is_verified: bool


class StoredBounceHosts:
    """The bounce hosts of all domains that were not released."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def is_bounce_host(self, name: Domain) -> bool:
        """Whether a customer's bounces come to `name`; may raise StoreError."""
        return await self._writer.read(lambda at: is_bounce_host(at, name))


def is_bounce_host(connection: Connection, name: Domain) -> bool:
    """Whether `name` is a label that some domain chose, below its home."""
    return bool(connection.scalar(_FOUND, _parts(name)))


def owners_of(connection: Connection, name: Domain) -> tuple[BounceHostOwner, ...]:
    """Return whose bounce host `name` is, the oldest first; nothing where nobody's."""
    return tuple(
        BounceHostOwner(
            tenant=TenantId(row.tenant_id),
            domain=Domain(row.name),
            is_verified=row.assume_verified or row.verified_at is not None,
        )
        for row in connection.execute(_OWNERS, _parts(name))
    )


def bounce_hosts_of(connection: Connection, domain: DnsName) -> tuple[Domain, ...]:
    """Return the bounce hosts of a sending domain, of all tenants that have it."""
    rows = connection.execute(_HOSTS, {"name": str(domain)})
    return tuple(sorted({Domain(f"{row.bounce_label}.{row.home}") for row in rows}))


def _parts(name: Domain) -> dict[str, object]:
    """`names` are the sending domains that the home may be of: it is one of them, or a zone
    below. They are found by their index; strangers ask, and domains are many."""
    label, _, home = name.partition(".")
    labels = home.split(".")
    names = [".".join(labels[start:]) for start in range(len(labels))]
    return {"label": label, "home": home, "names": names}


_home = func.coalesce(sending_domain.c.zone, sending_domain.c.name)
_names: BindParameter[str] = bindparam("names", expanding=True)
_WITH = (
    sending_domain.c.name.in_(_names),
    sending_domain.c.bounce_label == bindparam("label"),
    sending_domain.c.released_at.is_(None),
    _home == bindparam("home"),
)
_FOUND = select(func.count()).select_from(sending_domain).where(*_WITH)
_HOSTS = select(sending_domain.c.bounce_label, _home.label("home")).where(
    sending_domain.c.name == bindparam("name"), sending_domain.c.released_at.is_(None)
)
_OWNERS = (
    select(
        sending_domain.c.tenant_id,
        sending_domain.c.name,
        sending_domain.c.verified_at,
        sending_domain.c.assume_verified,
    )
    .where(*_WITH)
    .order_by(sending_domain.c.id)
)
