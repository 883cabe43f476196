"""The doors to the store of who looks at domains, put together from sibling rooms.

Each of those knows only its own tables; here a look at a domain becomes its rows, its
event and its log line, and a mended domain's gate is opened.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.identity.state import DomainSettings, DomainState
from soboo_mta.mail.ids import DomainId
from soboo_mta.mail.outcome import Reason
from soboo_mta.onboarding.watch.monitor import Observation, Watched
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.settle import opening
from soboo_mta.spool.view import gates
from soboo_mta.store.unit import Statement
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import (
    check_soon,
    checks_of,
    domain_state,
    domains_due,
    postpone_check,
    store_check,
    view_of,
)
from soboo_mta.web.setup.pages import Setup

_ACTOR = "monitor"


class StoredDomains:
    """The monitor's door to the store (onboarding.monitor.DomainBook)."""

    def __init__(self, *, writer: Writer, clock: Clock, log: EventLog) -> None:
        self._writer = writer
        self._clock = clock
        self._log = log

    async def due(self, *, now: int, limit: int) -> tuple[Watched, ...]:
        """Return what is to be looked at now, the longest due first."""

        def look(connection: Connection) -> tuple[Watched, ...]:
            return tuple(
                Watched(
                    state=view.state,
                    checks=checks_of(connection, view.settings.domain_id),
                )
                for view in domains_due(connection, now=now, limit=limit)
            )

        return await self._writer.read(look)

    async def record(self, observation: Observation) -> None:
        """Store one look; where it proved or changed something, say so."""
        result, now = observation.result, self._clock.unix_ms()

        def store(connection: Connection) -> bool:
            return store_check(
                connection,
                observation.domain_id,
                checks=result.checks,
                facts=result.facts,
                owned=result.owned,
                next_check_at=result.next_check_at,
                changed=observation.changed,
                now=now,
            )

        verified = await self._writer.transact(store)
        if verified or observation.changed:
            await self._tell(observation, verified=verified, now=now)

    async def postpone(self, domain_id: DomainId, *, until: int) -> None:
        """Leave the domain alone until then (unix ms)."""
        await self._writer.transact(lambda at: postpone_check(at, domain_id, until))

    async def gated(self) -> tuple[DomainState, ...]:
        """Return the domains whose mail waits for their DNS."""

        def look(connection: Connection) -> tuple[DomainState, ...]:
            states = (
                domain_state(connection, DomainId(int(gate.subject)))
                for gate in gates(connection)
                if gate.scope == "domain" and gate.reason is Reason.DOMAIN_BROKEN
            )
            return tuple(state for state in states if state is not None)

        return await self._writer.read(look)

    async def open_gate(self, domain_id: DomainId) -> None:
        """Let the domain's mail be due again."""
        state = await self._writer.read(lambda at: domain_state(at, domain_id))
        unit = [opening("domain", str(domain_id))]
        if state is not None:
            unit.append(self._event(EventKind.GATE_OPENED, state.settings, ()))
        await self._writer.commit(unit)
        self._log.gate_opened("domain", str(domain_id))

    async def _tell(
        self, observation: Observation, *, verified: bool, now: int
    ) -> None:
        state = await self._writer.read(
            lambda at: domain_state(at, observation.domain_id)
        )
        if state is None:
            return  # released meanwhile
        settings, changes = state.settings, observation.changes
        kind = EventKind.DOMAIN_CHANGED
        if verified:
            kind = EventKind.DOMAIN_VERIFIED
        await self._writer.commit([self._event(kind, settings, changes)])
        self._log.domain_changed(
            settings.name, settings.domain_id, kind.value, "; ".join(changes)
        )

    def _event(
        self, kind: EventKind, settings: DomainSettings, changes: tuple[str, ...]
    ) -> Statement:
        return recorded(
            kind,
            at=self._clock.unix_ms(),
            actor=_ACTOR,
            tenant=settings.tenant,
            domain=settings.name,
            detail={"changes": list(changes)},
        )


@dataclass(frozen=True, slots=True)
class StoredSetups:
    """The setup page's door to the store (web.setup.pages.SetupBook)."""

    writer: Writer

    async def look(self, domain_id: DomainId) -> Setup | None:
        """Return the domain with what was last seen of its records."""

        def look(connection: Connection) -> Setup | None:
            view = view_of(connection, domain_id)
            if view is None:
                return None
            return Setup(
                settings=view.settings,
                checks=checks_of(connection, domain_id),
                verified_at=view.verified_at,
                next_check_at=view.next_check_at,
            )

        return await self.writer.read(look)

    async def check_soon(self, domain_id: DomainId) -> None:
        """Make the monitor look at the domain at once."""
        await self.writer.transact(lambda at: check_soon(at, domain_id))
