"""The door to the store of the watch over released names (onboarding.watch.released)."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.onboarding.watch.released import ReleasedLook
from soboo_mta.ports import Clock
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import (
    LeftName,
    ReleasedDomain,
    released_due,
    store_left,
)

_ACTOR = "monitor"


@dataclass(frozen=True, slots=True)
class StoredReleases:
    """Released domains in the store."""

    writer: Writer
    clock: Clock
    log: EventLog

    async def due(self, *, now: int, limit: int) -> tuple[ReleasedDomain, ...]:
        """Return what is to be looked at now, the first released first."""
        return await self.writer.read(lambda at: released_due(at, now=now, limit=limit))

    async def record(self, look: ReleasedLook) -> None:
        """Store one look, and an event for what it found and what is gone."""
        now, settings = self.clock.unix_ms(), look.domain.settings

        def write(connection: Connection) -> None:
            store_left(
                connection,
                settings.domain_id,
                left=look.left,
                clean_looks=look.clean_looks,
                next_look_at=look.next_look_at,
            )
            for kind, names in (
                (EventKind.NAME_DANGLING, look.found),
                (EventKind.NAME_CLEARED, look.cleared),
            ):
                if not names:
                    continue
                perform(
                    connection,
                    recorded(
                        kind,
                        at=now,
                        actor=_ACTOR,
                        tenant=settings.tenant,
                        domain=settings.name,
                        detail={"names": _lines(names)},
                    ),
                )

        await self.writer.transact(write)
        for names, say in (
            (look.found, self.log.name_dangling),
            (look.cleared, self.log.name_cleared),
        ):
            for one in names:
                say(
                    settings.name,
                    settings.domain_id,
                    record=str(one.name),
                    target=one.target,
                )


def _lines(names: Iterable[LeftName]) -> list[str]:
    return [f"{one.name} {one.target}." for one in names]
