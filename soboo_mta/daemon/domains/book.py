"""The doors to the store of who looks at domains, put together from sibling rooms.

Each of those knows only its own tables; `keeping` has what becomes of a look. Here a
mended domain's gate is opened.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.daemon.domains.keeping import Kept, keep_look, say_kept
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.identity.state import DomainState
from soboo_mta.mail.ids import DomainId
from soboo_mta.mail.outcome import Reason
from soboo_mta.onboarding.watch.monitor import Observation, Watched
from soboo_mta.onboarding.watch.states import Timers
from soboo_mta.ports import Clock
from soboo_mta.spool.moves.settle import opening
from soboo_mta.spool.view import gates
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import (
    check_soon,
    checks_of,
    domain_state,
    domains_due,
    postpone_check,
    view_of,
)
from soboo_mta.web.setup.pages import Setup

_ACTOR = "monitor"


class StoredDomains:
    """The monitor's door to the store (onboarding.monitor.DomainBook)."""

    def __init__(
        self, *, writer: Writer, clock: Clock, log: EventLog, timers: Timers
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._log = log
        self._timers = timers

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
        """Store one look; where it proved, changed or moved something, say so."""
        now = self._clock.unix_ms()

        def store(connection: Connection) -> Kept | None:
            return keep_look(
                connection, observation, timers=self._timers, now=now, actor=_ACTOR
            )

        kept = await self._writer.transact(store)
        if kept is not None:
            say_kept(self._log, kept)

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
            unit.append(
                recorded(
                    EventKind.GATE_OPENED,
                    at=self._clock.unix_ms(),
                    actor=_ACTOR,
                    tenant=state.settings.tenant,
                    domain=state.settings.name,
                )
            )
        await self._writer.commit(unit)
        self._log.gate_opened("domain", str(domain_id))


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
