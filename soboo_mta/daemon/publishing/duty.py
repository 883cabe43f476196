"""The duty that keeps zones published.

Any process may do it: a lease spares the work of several at once, and each change depends
on what was read, so that the slower of two reads again.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from soboo_mta.daemon.publishing.rounds import (
    keeping,
    noted,
    policies_to_keep,
    publish_all,
    publisher_of,
)
from soboo_mta.daemon.publishing.zones import Zones, zones_of
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.publish.publisher import (
    Published,
    Result,
    Trouble,
)
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings, SettingsError
from soboo_mta.settings.options import resolver_options
from soboo_mta.spool.duty import DUTY_LENGTH, HeldDuty
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import generation

_LOOK = timedelta(seconds=2)  # for a change in the store
_AT_LEAST = timedelta(minutes=5)  # for drift on the server
_LONGEST = timedelta(minutes=15)  # after many troubles
_DUTY = "publishing"
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Publishing:
    """The duty: at each change in the store, and every five minutes for drift. Of several
    processes the one that holds it publishes; the next one takes over where it is gone."""

    settings: Settings
    writer: Writer
    clock: Clock
    holder: str
    """Tells this process from others."""
    _published: dict[DnsName, int] = field(default_factory=dict, init=False)
    _duty: HeldDuty = field(init=False)
    _suffixes: SuffixList = field(default_factory=SuffixList, init=False)

    def __post_init__(self) -> None:
        self._duty = HeldDuty(
            writer=self.writer, clock=self.clock, name=_DUTY, holder=self.holder
        )

    async def run(self) -> None:
        """Publish until cancelled; troubles are logged and tried again, ever later."""
        try:
            await self._run()
        finally:
            await self._give_up()

    async def _run(self) -> None:
        seen, next_at, pause = -1, 0.0, _LOOK
        while True:
            try:
                now = await self.writer.read(generation)
                is_due = now != seen or self.clock.monotonic() >= next_at
                if await self._duty.take() and is_due:
                    had_trouble = await self._round_while_renewed()
                    pause = min(pause * 2, _LONGEST) if had_trouble else _LOOK
                    wait = pause if had_trouble else _AT_LEAST
                    seen = now
                    next_at = self.clock.monotonic() + wait.total_seconds()
            except (StoreError, SettingsError, FormatError) as error:
                _log.warning("publishing_failed", cause=str(error))
                await asyncio.sleep(_LOOK.total_seconds())
            except Exception:  # noqa: BLE001 - a task's root: nothing may end the duty
                _log.exception("publishing_failed")
            await asyncio.sleep(_LOOK.total_seconds())

    async def _give_up(self) -> None:
        try:
            await self._duty.give_up()
        except StoreError as error:  # then it ends by itself
            _log.warning("publishing_failed", cause=str(error))

    async def _round_while_renewed(self) -> bool:
        """One round, however long: nobody else begins the same work meanwhile."""
        # No group: it would wrap what the round raises.
        renewing = asyncio.create_task(self._renew())
        try:
            return await self._round()
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(DUTY_LENGTH.total_seconds() / 4)
            try:
                await self._duty.take()
            except StoreError as error:  # the round finds out by itself
                _log.warning("publishing_failed", cause=str(error))

    async def _round(self) -> bool:
        zones = await self.writer.read(
            lambda at: zones_of(at, self.settings, self._suffixes)
        )
        publisher = publisher_of(self.settings, zones, self.clock)
        results = await publish_all(zones, publisher)
        await self._note(zones, results)
        await self._keep_policies(zones, results)
        return any(isinstance(one, Trouble) for one in results)

    async def _note(self, zones: Zones, results: Iterable[Result]) -> None:
        now = self.clock.unix_ms()
        if events := noted(zones, results, self._published, now=now):
            await self.writer.commit(events)
        well = {one.zone for one in results if isinstance(one, Published)}
        contents = (one for one in zones.contents if one.zone in well)
        self._published = {one.zone: hash(one) for one in contents}

    async def _keep_policies(self, zones: Zones, results: Iterable[Result]) -> None:
        resolver = DnsResolver(
            options=resolver_options(self.settings), clock=self.clock
        )
        for of, dmarc in await policies_to_keep(zones, results, resolver):
            await self.writer.transact(keeping(of, dmarc))
