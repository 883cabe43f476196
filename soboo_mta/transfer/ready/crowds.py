"""Mail that finds no room for the moment, for its queue is full."""

from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.claim import Leaving
from soboo_mta.transfer.ready.queue import ReadyQueue

_REMEMBERED = 1_000  # over it all are forgotten, and noted again where it is so


class Crowds:
    """Mail that is left to the spool: of one tenant for a destination domain until its
    queue has room for it again, or of everybody for a domain; for `rest` at most."""

    def __init__(self, clock: Clock, *, rest: timedelta) -> None:
        self._clock = clock
        self._rest = rest.total_seconds()
        self._known: dict[tuple[TenantId | None, Domain], _Crowd] = {}

    def note(
        self,
        domain: Domain,
        *,
        of: TenantId | None = None,
        at: ReadyQueue | None = None,
    ) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[of, domain] = _Crowd(self._clock.monotonic() + self._rest, at)

    def leaving(self, tenants: frozenset[str]) -> Leaving:
        """Return what a claim leaves alone, with `tenants` besides."""
        now = self._clock.monotonic()
        self._known = {
            (tenant, domain): crowd
            for (tenant, domain), crowd in self._known.items()
            if crowd.until > now and not crowd.has_dispersed_of(tenant)
        }
        domains: set[str] = set()
        of_tenant: dict[str, set[str]] = {}
        for tenant, domain in self._known:
            kept = (
                domains if tenant is None else of_tenant.setdefault(str(tenant), set())
            )
            kept.add(domain)
        return Leaving(domains=domains, tenants=tenants, of_tenant=of_tenant)


@dataclass(frozen=True, slots=True)
class _Crowd:
    until: float  # monotonic
    queue: ReadyQueue | None

    def has_dispersed_of(self, tenant: TenantId | None) -> bool:
        if tenant is None or self.queue is None:
            return False
        return not self.queue.has_much_of(tenant)
