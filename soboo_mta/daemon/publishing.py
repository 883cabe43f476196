"""What there is to publish, read from the store, and the duty that keeps it published.

Any process may do it, several at once: each change depends on what was read, so the slower
one reads again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from soboo_mta.identity.mta_sts import StsPolicy
from soboo_mta.identity.records import name_server_names, name_servers_below
from soboo_mta.identity.state import DomainSettings, Mode, Operator
from soboo_mta.identity.zone import (
    ZoneContent,
    ZoneOptions,
    left_out,
    operator_zone,
    zone_records,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId
from soboo_mta.net.authority import DnsAuthority
from soboo_mta.net.name_servers.files import FileOptions, ZoneDirectory
from soboo_mta.net.name_servers.updates import TsigKey, UpdateOptions, UpdateServer
from soboo_mta.net.resolver import DnsResolver
from soboo_mta.onboarding.publish.policy import policy_there
from soboo_mta.onboarding.publish.publisher import (
    Published,
    Publisher,
    Result,
    Trouble,
    Waiting,
)
from soboo_mta.ports import Clock, Delegation, NameServer, Resolver
from soboo_mta.settings import Settings, SettingsError
from soboo_mta.settings.options import resolver_options
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import generation
from soboo_mta.tenancy.domains import domain_state, released_zones, views
from soboo_mta.tenancy.keys import operator_keys
from soboo_mta.tenancy.zones import every_own_record, keep_policy, kept_policies

_LOOK = timedelta(seconds=2)  # for a change in the store
_AT_LEAST = timedelta(minutes=5)  # for drift on the server
_LONGEST = timedelta(minutes=15)  # after many troubles
_Done = TypeVar("_Done")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What is to be on the name server, and whose each delegated zone is."""

    contents: tuple[ZoneContent, ...]  # the operator's own first: others lead to it
    released: tuple[DnsName, ...]
    owners: Mapping[DnsName, DomainSettings]
    operator: Operator
    policies: Mapping[DomainId, str]  # DMARC of zones that are From domains, once read
    unfit: tuple[Trouble, ...] = ()  # what can't be stated; all else is


def zones_of(connection: Connection, settings: Settings) -> Zones:
    """Read what is to be published now. Of several tenants that set one zone up, the
    first verified has it, else the first; its parent says whether that is right."""
    operator = settings.identity(operator_keys(connection))
    found = views(connection)
    publish = settings.publish
    owners: dict[DnsName, DomainSettings] = {}
    for view in sorted(found, key=lambda one: one.verified_at is None):
        if view.settings.mode is Mode.ZONE:
            owners.setdefault(view.settings.home, view.settings)
    own = operator_zone(
        operator,
        [view.settings for view in found],
        verified=sorted({one.settings.name for one in found if one.verified_at}),
        name_servers=publish.name_servers,
    )
    plain, extra = zone_options(settings), every_own_record(connection)
    policies = kept_policies(connection)
    delegated: list[ZoneContent] = []
    unfit: list[Trouble] = []
    for zone, of in owners.items():
        options = replace(
            plain,
            extra=extra.get(of.domain_id, ()),
            dmarc=policies.get(of.domain_id, ""),  # nothing weakens what is not known
        )
        try:
            options, reasons = left_out(of, operator, options)
            delegated.append(zone_records(of, operator, options))
        except FormatError as error:
            reasons = (str(error),)
        unfit += [Trouble(zone, reason) for reason in reasons]
    return Zones(
        contents=(own, *delegated),
        released=tuple(
            zone for zone in released_zones(connection) if zone != operator.domain
        ),
        owners=owners,
        operator=operator,
        policies=policies,
        unfit=tuple(unfit),
    )


def zone_options(settings: Settings) -> ZoneOptions:
    """Return what every delegated zone says by the settings."""
    publish = settings.publish
    return ZoneOptions(
        certificate_issuers=tuple(publish.certificate_issuers),
        tls_reports=publish.tls_reports or "",
        sts=StsPolicy(mode=publish.mta_sts_mode, hosts=publish.mta_sts_hosts),
    )


def name_server(settings: Settings) -> NameServer:
    """Return the name server that [publish] names; raises SettingsError."""
    publish = settings.publish
    host_master = DnsName(f"hostmaster.{settings.operator.domain}")
    if publish.directory is not None:
        return ZoneDirectory(
            FileOptions(
                directory=publish.directory,
                shared=settings.operator.domain,
                host_master=host_master,
                reload=publish.reload,
            )
        )
    if publish.server is None or publish.key_name is None or publish.key_file is None:
        raise SettingsError("[publish] names no name server: docs/dns-publishing.md")
    try:
        secret = "".join(publish.key_file.read_text(encoding="ascii").split())
        key = TsigKey(name=publish.key_name, secret=secret)
        return UpdateServer(
            UpdateOptions(
                server=publish.server,
                key=key,
                host_master=host_master,
                create=publish.create,
                withdraw=publish.withdraw,
            )
        )
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"[publish] key_file: {publish.key_file} holds no secret in base64: {error}"
        ) from error


def publisher_of(settings: Settings, zones: Zones, clock: Clock) -> Publisher:
    """Return what publishes `zones`; a zone is made once its parent names exactly the
    name servers of its tenant's token. Raises SettingsError."""
    asked = resolver_options(settings)
    authority = DnsAuthority(
        recursive=DnsResolver(options=asked, clock=clock), options=asked
    )

    async def is_delegated(zone: DnsName) -> bool:
        said = await authority.delegation(zone)
        wanted = name_server_names(zones.owners[zone], zones.operator)
        return isinstance(said, Delegation) and set(said.servers) == set(wanted)

    return Publisher(
        server=name_server(settings),
        clock=clock,
        is_delegated=is_delegated,
        servers_below=name_servers_below(zones.operator),
    )


async def publish_all(zones: Zones, publisher: Publisher) -> tuple[Result, ...]:
    """Publish every zone and withdraw the released ones; log what was done. What goes
    wrong with one zone keeps no other from its turn."""
    results: list[Result] = [*zones.unfit]
    for content in zones.contents:
        results.append(await _kept_apart(content.zone, publisher.publish(content)))
    for zone in zones.released:
        trouble = await _kept_apart(zone, publisher.withdraw(zone))
        if trouble is not None:
            results.append(trouble)
    for result in results:
        _tell(result)
    return tuple(results)


async def policies_to_keep(
    zones: Zones, results: Iterable[Result], resolver: Resolver
) -> list[tuple[DomainSettings, str]]:
    """Return the DMARC records to keep that differ from those kept: of zones that are
    From domains and not delegated yet, and of those that were never read."""
    found = []
    for result in results:
        of = zones.owners.get(result.zone)
        if of is None or of.home != of.name:
            continue
        held = zones.policies.get(of.domain_id)
        if held is None or isinstance(result, Waiting):
            there = await policy_there(of.home, resolver)
            if there is not None and there != held:
                found.append((of, there))
    return found


def keeping(of: DomainSettings, dmarc: str) -> Callable[[Connection], None]:
    """Return what keeps the DMARC record of a zone, unless it was released meanwhile."""

    def write(connection: Connection) -> None:
        if domain_state(connection, of.domain_id) is not None:
            keep_policy(connection, of, dmarc)

    return write


async def _kept_apart(zone: DnsName, work: Awaitable[_Done]) -> _Done | Trouble:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the root of one zone's work
        _log.exception("zone_fault", zone=zone)
        return Trouble(zone, f"a fault of the relay's own: {error!r}")


def _tell(result: Result) -> None:
    match result:
        case Published(zone=zone, mended=mended, was_created=True):
            _log.info("zone_created", zone=zone, records=len(mended))
        case Published(zone=zone, mended=mended):
            for one in mended:
                _log.info(
                    "zone_mended",
                    zone=zone,
                    name=one.record.owner,
                    type=one.record.kind,
                    what=one.what,
                )
        case Trouble(zone=zone, cause=cause):
            _log.warning("zone_trouble", zone=zone, cause=cause)


@dataclass(frozen=True, slots=True)
class Publishing:
    """The duty: at each change in the store, and every five minutes for drift."""

    settings: Settings
    writer: Writer
    clock: Clock

    async def run(self) -> None:
        """Publish until cancelled; troubles are logged and tried again, ever later."""
        seen, next_at, pause = -1, 0.0, _LOOK
        while True:
            try:
                now = await self.writer.read(generation)
                if now != seen or self.clock.monotonic() >= next_at:
                    had_trouble = await self._round()
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

    async def _round(self) -> bool:
        zones = await self.writer.read(lambda at: zones_of(at, self.settings))
        publisher = publisher_of(self.settings, zones, self.clock)
        results = await publish_all(zones, publisher)
        await self._keep_policies(zones, results)
        return any(isinstance(one, Trouble) for one in results)

    async def _keep_policies(self, zones: Zones, results: Iterable[Result]) -> None:
        resolver = DnsResolver(
            options=resolver_options(self.settings), clock=self.clock
        )
        for of, dmarc in await policies_to_keep(zones, results, resolver):
            await self.writer.transact(keeping(of, dmarc))
