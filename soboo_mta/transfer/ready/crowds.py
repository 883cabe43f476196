"""What finds no room for the moment: mail to a full queue, and sites nobody reaches."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Outcome
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.claim import Leaving
from soboo_mta.transfer.ready.queue import ReadyQueue

_REMEMBERED = (
    1_000  # of each; over it all are forgotten, and noted again where it is so
)


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


class Unreachable:
    """Sites without a host that answers, left alone for `rest` with what they came to."""

    def __init__(self, clock: Clock, *, rest: timedelta) -> None:
        self._clock = clock
        self._rest = rest.total_seconds()
        self._known: dict[Hashable, tuple[float, Outcome]] = {}

    def note(self, place: Hashable, outcome: Outcome) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[place] = (self._clock.monotonic() + self._rest, outcome)

    def outcome_at(self, place: Hashable) -> Outcome | None:
        """Return what who comes now need not try for, or None."""
        until, outcome = self._known.get(place, (0.0, None))
        return outcome if until > self._clock.monotonic() else None
