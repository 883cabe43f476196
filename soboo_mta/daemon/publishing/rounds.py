"""One round over all zones on the name server of the settings, and what is kept of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from soboo_mta.daemon.publishing.zones import Zones
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.records import name_server_names, name_servers_below
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.dns.authority import DnsAuthority
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.name_servers.files import FileOptions, ZoneDirectory
from soboo_mta.net.name_servers.updates import TsigKey, UpdateOptions, UpdateServer
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
from soboo_mta.store.unit import Statement
from soboo_mta.tenancy.domains import domain_state
from soboo_mta.tenancy.domains.zones import keep_policy

_Done = TypeVar("_Done")
_SHOWN = 20  # changes that one event names; the log has each
_log = structlog.get_logger(__name__)


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
    for zone in _to_withdraw(zones, results):
        trouble = await _kept_apart(zone, publisher.withdraw(zone))
        if trouble is not None:
            results.append(trouble)
    for result in results:
        _tell(result)
    return tuple(results)


def _to_withdraw(zones: Zones, results: Iterable[Result]) -> list[DnsName]:
    """Zones of released domains: less those that a domain of now has, but with those
    that one has only named, since the zone that is there is not its own."""
    named = {content.zone for content in zones.contents}
    named |= {one.zone for one in zones.unfit}
    named -= {one.zone for one in results if isinstance(one, Waiting)}
    return [zone for zone in zones.released if zone not in named]


def noted(
    zones: Zones, results: Iterable[Result], before: Mapping[DnsName, int], *, now: int
) -> list[Statement]:
    """Return the events of a round: zones that were made, and what somebody else had
    changed. `before`: of each zone the hash of its content when it was last published
    well; a change that follows from ours is no event."""
    wanted = {one.zone: hash(one) for one in zones.contents}
    events = []
    for result in results:
        if not isinstance(result, Published):
            continue
        changes = [
            f"{one.record.owner} {one.record.kind} {one.what}" for one in result.mended
        ]
        is_drift = bool(changes) and before.get(result.zone) == wanted[result.zone]
        if not (is_drift or result.was_created):
            continue
        of = zones.owners.get(result.zone)
        detail: dict[str, object] = {"zone": result.zone}
        if is_drift:
            detail |= {"changes": changes[:_SHOWN], "changed": len(changes)}
        events.append(
            recorded(
                EventKind.ZONE_CREATED if result.was_created else EventKind.ZONE_MENDED,
                at=now,
                actor="publisher",
                tenant=of.tenant if of else None,
                domain=of.name if of else result.zone,
                detail=detail,
            )
        )
    return events


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
