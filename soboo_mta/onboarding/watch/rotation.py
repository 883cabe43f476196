"""Keys give way to the next ones on time, with nothing for the customer to do.

A key is activated only when every resolver we ask shows it: one that still says "no such
name" would make receivers call our mail unsigned. Retired keys are revoked once no mail
under way needs them. In mode manual the customer publishes; the rotation waits, and says
for what.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import structlog

from soboo_mta.identity.state import DomainSettings, PublicKey
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.judging.judge_key import is_served
from soboo_mta.ports import NamedResolver as NamedResolver
from soboo_mta.ports import RecordType, Unanswered
from soboo_mta.tenancy.signing.rotation import RotationDue

_Done = TypeVar("_Done")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """When keys give way."""

    pause: timedelta = timedelta(minutes=5)
    """Between looks for what is due."""
    at_once: int = 50
    """Rotations, revocations and withdrawals of one round: so many of each."""


class RotationBook(Protocol):
    """What rotation needs of the store; each call is one transaction."""

    async def due(self, *, limit: int, skip: int = 0) -> tuple[RotationDue, ...]:
        """Return domains whose key is to give way, less the first `skip` of them; those
        that rotate are due no more."""
        ...

    async def rotate(self, settings: DomainSettings) -> bool:
        """Let the next key sign and the active one retire, and make another next one;
        False, and nothing has happened, where no slot is free for that one."""
        ...

    async def drained(self, *, limit: int) -> tuple[KeyId, ...]:
        """Return the retired keys that nothing needs any more."""
        ...

    async def revoke(self, key_id: KeyId) -> None:
        """Publish its p= empty and destroy its private half."""
        ...

    async def outlived(self, *, limit: int) -> tuple[KeyId, ...]:
        """Return the revoked keys that need no record any more."""
        ...

    async def withdraw(self, key_id: KeyId) -> None:
        """Publish nothing of it any more."""
        ...


class Rotator:
    """Rotates what is due and revokes what is drained, until cancelled."""

    def __init__(
        self,
        *,
        book: RotationBook,
        resolvers: Sequence[NamedResolver],
        options: RotationOptions,
    ) -> None:
        self._book = book
        self._readiness = Readiness(resolvers)
        self._options = options

    async def run(self) -> None:
        """Round after round. An error of one round is logged; the next one tries again."""
        is_fresh = True
        while True:
            try:
                await self.round()
                if not is_fresh:  # workers of an older release, not gone yet, stumble
                    await self.withdraw()
                is_fresh = False
            except Exception:  # noqa: BLE001 - a task's root: nothing may end the watch
                _log.exception("rotation_round_failed")
            await asyncio.sleep(self._options.pause.total_seconds())

    async def round(self) -> None:
        """One look at what is due to give way or to be revoked."""
        await self._rotate_due()
        for key_id in await self._book.drained(limit=self._options.at_once):
            await _kept_apart(self._book.revoke(key_id), key=key_id)

    async def withdraw(self) -> None:
        """One look at the revoked keys whose empty p= has been there for long enough."""
        for key_id in await self._book.outlived(limit=self._options.at_once):
            await _kept_apart(self._book.withdraw(key_id), key=key_id)

    async def _rotate_due(self) -> None:
        # What waits is the longest due, maybe for ever: it keeps no other from its turn.
        rotated = waiting = 0
        while rotated < self._options.at_once:
            found = await self._book.due(limit=self._options.at_once, skip=waiting)
            for due in found:
                domain = due.state.settings.name
                if await _kept_apart(self._rotate(due), domain=domain):
                    rotated += 1
                else:
                    waiting += 1
            if len(found) < self._options.at_once:
                return

    async def _rotate(self, due: RotationDue) -> bool:
        """Whether the next key signs now."""
        settings = due.state.settings
        waits_for = await self._readiness.waits_for(due)
        if not waits_for and not await self._book.rotate(settings):
            waits_for = (
                "a free selector: a retired key is still needed by mail under way"
            )
        if waits_for:
            _log.info(
                "rotation_waits",
                domain=settings.name,
                tenant=settings.tenant,
                waits_for=waits_for,
            )
        return not waits_for


async def _kept_apart(work: Awaitable[_Done], **whose: object) -> _Done | None:
    """What it returns; None where it failed: one domain or key stops no other."""
    try:
        return await work
    except Exception:  # noqa: BLE001 - the root of one domain's work
        _log.exception("rotation_failed", **whose)
        return None


class Readiness:
    """What stands between a next key and its signing, asked of every resolver."""

    def __init__(self, resolvers: Sequence[NamedResolver]) -> None:
        self._resolvers = resolvers

    async def waits_for(self, due: RotationDue) -> str:
        """Return what the rotation waits for, in words; "" where it need not wait."""
        settings, facts = due.state.settings, due.state.facts
        if due.ready is None:
            return "a next key: a retired key still holds the selector it needs"
        if settings.assume_verified:
            return ""
        if facts is None or due.ready.key_id not in facts.usable:
            return f"selector {due.ready.selector} to be published in {settings.home}"
        is_author = due.active.key_id in facts.usable_author
        if is_author and due.ready.key_id not in facts.usable_author:
            return f"selector {due.ready.selector} to be published in {settings.name}"
        homes = {settings.home, settings.name} if is_author else {settings.home}
        for home in sorted(homes):
            name = DnsName(f"{due.ready.selector}._domainkey.{home}")
            if unseen := await self._unseen(name, due.ready):
                return f"{name} to be seen by {unseen}"
        return ""

    async def _unseen(self, name: DnsName, key: PublicKey) -> str:
        """The first resolver that answers and does not show the key. One that is silent
        tells nothing; where all are, the first one is named."""
        answers = [
            await one.resolver.lookup(name, RecordType.TXT, fresh=True)
            for one in self._resolvers
        ]
        for one, answer in zip(self._resolvers, answers, strict=True):
            if not isinstance(answer, Unanswered) and not is_served(answer, key):
                return one.name
        if any(is_served(answer, key) for answer in answers):
            return ""
        return self._resolvers[0].name
