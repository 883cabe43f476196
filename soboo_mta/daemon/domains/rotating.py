"""The rotation's door to the store (onboarding.watch.rotation.RotationBook)."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.state import Algorithm, DomainSettings, KeyState, PublicKey
from soboo_mta.mail.ids import KeyId
from soboo_mta.ports import Clock
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import domain_state
from soboo_mta.tenancy.secrets import MasterKey
from soboo_mta.tenancy.signing.keys import Rotation, find_key, make_pair, revoke, rotate
from soboo_mta.tenancy.signing.rotation import (
    RotationDue,
    drained,
    outlived,
    rotations_due,
    want_rotation,
    withdraw,
)

_ACTOR = "rotation"


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Keys in the store; `every_days` as `rotations_due`, `drain` as `slots.drain_ms`."""

    writer: Writer
    master: MasterKey
    clock: Clock
    every_days: int
    drain: int

    async def due(self, *, limit: int, skip: int = 0) -> tuple[RotationDue, ...]:
        """Return domains whose key is to give way, less the first `skip` of them."""
        now = self.clock.unix_ms()
        return await self.writer.read(
            lambda at: rotations_due(
                at, now=now, every_days=self.every_days, limit=limit, skip=skip
            )
        )

    async def rotate(self, settings: DomainSettings) -> bool:
        """Let the next key sign; False where no slot is free for the one after it."""
        pair = await asyncio.to_thread(make_pair, Algorithm.RSA)  # 0.1 s of work
        now = self.clock.unix_ms()

        def write(at: Connection) -> Rotation:
            done = rotate(
                at, self.master, settings.domain_id, pair, now=now, drain=self.drain
            )
            want_rotation(at, settings.domain_id, None)
            for key in done.activated:
                _note(at, EventKind.KEY_ACTIVATED, key, settings, now)
            return done

        try:
            await self.writer.transact(write)
        except TenancyError:  # rolled back: what stands in the way goes with time
            return False
        return True

    async def drained(self, *, limit: int) -> tuple[KeyId, ...]:
        """Return the retired keys that nothing needs any more."""
        now = self.clock.unix_ms()
        return await self.writer.read(
            lambda at: drained(at, now=now, drain=self.drain, limit=limit)
        )

    async def revoke(self, key_id: KeyId) -> None:
        """Publish its p= empty, and destroy its private half."""
        key, _ = await self.writer.read(lambda at: find_key(at, key_id))
        pair = await asyncio.to_thread(make_pair, key.algorithm)
        now = self.clock.unix_ms()

        def write(at: Connection) -> None:
            owner = find_key(at, key_id)[1]
            state = None if owner is None else domain_state(at, owner)
            settings = None if state is None else state.settings
            done = revoke(at, self.master, key_id, pair, now=now, drain=self.drain)
            _note(at, EventKind.KEY_REVOKED, done.revoked, settings, now)
            if done.successor is not None:
                _note(at, EventKind.KEY_CREATED, done.successor, settings, now)

        await self.writer.transact(write)

    async def outlived(self, *, limit: int) -> tuple[KeyId, ...]:
        """Return the revoked keys that need no record any more."""
        now = self.clock.unix_ms()
        return await self.writer.read(
            lambda at: outlived(at, now=now, drain=self.drain, limit=limit)
        )

    async def withdraw(self, key_id: KeyId) -> None:
        """Publish nothing of it any more."""
        now = self.clock.unix_ms()

        def write(at: Connection) -> None:
            key, owner = find_key(at, key_id)
            if key.state is not KeyState.REVOKED:
                return  # another process was here
            state = None if owner is None else domain_state(at, owner)
            withdraw(at, key, owner)
            settings = None if state is None else state.settings
            _note(at, EventKind.KEY_WITHDRAWN, key, settings, now)

        await self.writer.transact(write)


def _note(
    at: Connection,
    kind: EventKind,
    key: PublicKey,
    settings: DomainSettings | None,
    now: int,
) -> None:
    event = recorded(
        kind,
        at=now,
        actor=_ACTOR,
        tenant=settings.tenant if settings else None,
        domain=settings.name if settings else None,
        detail={"key": key.key_id, "selector": key.selector},
    )
    perform(at, event)
