"""What is left alone for a while, and who is told: sites nobody reaches or that refuse our
address, tenants whose content a site refuses, sources that are not there.

Everything is remembered for a named time and bounded; an operator is told of each once an
hour, by an event and a warning.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from soboo_mta.events.event import EventKind
from soboo_mta.identity.state import Source
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Deferred, Outcome, Reason, Scope
from soboo_mta.mail.reply import Reply
from soboo_mta.ports import Clock
from soboo_mta.transfer.routing.finder import Site

_REMEMBERED = (
    1_000  # of each; over it all are forgotten, and noted again where it is so
)
K = TypeVar("K", bound=Hashable)
_Note = tuple[float, Outcome]  # until when (monotonic), and what it comes to
_NOBODY: frozenset[str] = frozenset()
_QUIET = timedelta(hours=1)  # between two alerts of the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something an operator should see."""

    kind: EventKind
    source: str
    site: str
    reply: str
    tenant: TenantId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rests:
    """How long what is left alone is."""

    site: timedelta = timedelta(minutes=1)  # nobody reaches it
    blocked: timedelta = timedelta(minutes=10)  # it refuses our address
    tenant: timedelta = timedelta(minutes=10)  # it refuses a tenant's content
    source: timedelta = timedelta(minutes=1)  # it is no address of this host


class Troubles:
    """One engine's. `tell` is called for each alert and must not wait."""

    def __init__(
        self, clock: Clock, *, rests: Rests, tell: Callable[[Alert], None]
    ) -> None:
        self._clock = clock
        self._rests = rests
        self._tell = tell
        self._sites: dict[Hashable, _Note] = {}
        self._tenants: dict[Hashable, _Note] = {}
        self._sources: dict[str, _Note] = {}
        self._told: dict[Alert, float] = {}

    def standing(self, source: Source, site: Site, tenant: TenantId) -> Outcome | None:
        """Return what a recipient of `tenant` need not be tried for there, or None."""
        place = _place(source, site)
        return (
            self._still(self._sources, source.name)
            or self._still(self._sites, place)
            or self._still(self._tenants, (place, tenant))
        )

    def paused_sources(self) -> frozenset[str]:
        """Return the sources whose address was not there a moment ago."""
        if not self._sources:
            return _NOBODY
        now = self._clock.monotonic()
        return frozenset(
            name for name, (until, _) in self._sources.items() if until > now
        )

    def site_failed(self, site: Site, source: Source, outcome: Outcome) -> None:
        """Nobody reaches the site from there, or it refuses our address."""
        place, rests = _place(source, site), self._rests
        if isinstance(outcome, Deferred) and outcome.reason is Reason.BLOCKED:
            self._note(self._sites, place, rests.blocked, outcome)
            self._alert(EventKind.SOURCE_BLOCKED, source, site.name, outcome.reply)
        else:
            self._note(self._sites, place, rests.site, outcome)

    def content_blocked(
        self, site: Site, source: Source, tenant: TenantId, reply: Reply
    ) -> Deferred:
        """The site refuses what the tenant sends: its mail waits there, others' goes on;
        return what becomes of it."""
        outcome = Deferred(
            reply=reply, reason=Reason.CONTENT_BLOCKED, scope=Scope.TENANT
        )
        place = (_place(source, site), tenant)
        self._note(self._tenants, place, self._rests.tenant, outcome)
        self._alert(EventKind.CONTENT_BLOCKED, source, site.name, reply, tenant)
        return outcome

    def source_failed(self, source: Source, outcome: Deferred) -> None:
        """Its address is not there: nothing leaves from it for a while."""
        self._note(self._sources, source.name, self._rests.source, outcome)
        self._alert(EventKind.SOURCE_PAUSED, source, "", outcome.reply)

    # ----

    def _note(
        self,
        known: dict[K, _Note],
        key: K,
        rest: timedelta,
        outcome: Outcome,
    ) -> None:
        if len(known) >= _REMEMBERED:
            known.clear()
        known[key] = (self._clock.monotonic() + rest.total_seconds(), outcome)

    def _still(self, known: dict[K, _Note], key: K) -> Outcome | None:
        until, outcome = known.get(key, (0.0, None))
        return outcome if until > self._clock.monotonic() else None

    def _alert(
        self,
        kind: EventKind,
        source: Source,
        site: str,
        reply: Reply,
        tenant: TenantId | None = None,
    ) -> None:
        alert = Alert(
            kind=kind, source=source.name, site=site, reply=str(reply), tenant=tenant
        )
        about, now = replace(alert, reply=""), self._clock.monotonic()
        if now < self._told.get(about, float("-inf")):
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[about] = now + _QUIET.total_seconds()
        self._tell(alert)


def _place(source: Source, site: Site) -> Hashable:
    return source.name, site.name, site.tls
