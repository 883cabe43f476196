"""Which names are customers' bounce hosts: where their postmaster is ours."""

from sqlalchemy import Connection, bindparam, func, select

from soboo_mta.mail.domain import Domain
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import Writer


class StoredBounceHosts:
    """The bounce hosts of all domains that were not released."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def is_bounce_host(self, name: Domain) -> bool:
        """Whether a customer's bounces come to `name`; may raise StoreError."""
        return await self._writer.read(lambda at: is_bounce_host(at, name))


def is_bounce_host(connection: Connection, name: Domain) -> bool:
    """Whether `name` is a label that some domain chose, below its home."""
    label, _, home = name.partition(".")
    return bool(connection.scalar(_FOUND, {"label": label, "home": home}))


_home = func.coalesce(sending_domain.c.zone, sending_domain.c.name)
_FOUND = (
    select(func.count())
    .select_from(sending_domain)
    .where(
        sending_domain.c.bounce_label == bindparam("label"),
        sending_domain.c.released_at.is_(None),
        _home == bindparam("home"),
    )
)
