"""Keeps zones on a name server as they are to be: found, told, mended, withdrawn.

Owns no clock and no list of zones: its caller says what there is to publish, and when to
look. A zone is made only once its parent leads to this tenant's name servers; one that no
longer does stays as it is, since answers are still asked for while caches last. A zone
that the server has for somebody else is neither changed nor taken away.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from soboo_mta.identity.zones.zone import ZoneContent
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.publish.difference import (
    Drift,
    difference,
    drifts,
    names_of,
    next_serial,
)
from soboo_mta.ports import (
    Clock,
    NameServer,
    NameServerError,
    NotServed,
    RecordType,
    ServedZone,
    ZoneMoved,
    ZoneRecord,
)

_TRIES = 3  # another writer is faster once, seldom twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found. `served` None: the server has no such zone."""

    zone: DnsName
    served: ServedZone | None
    drift: tuple[Drift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A zone is served as it is to be; `mended` is what was not."""

    zone: DnsName
    mended: tuple[Drift, ...]
    was_created: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The zone is not served for this tenant yet: its parent does not lead to its servers."""

    zone: DnsName


@dataclass(frozen=True, slots=True)
class Trouble:
    """The name server did not do what was asked; the next round tries again."""

    zone: DnsName
    cause: str


Result = Published | Waiting | Trouble
IsDelegated = Callable[[DnsName], Awaitable[bool]]


class Publisher:
    """One name server, and the zones it is to serve."""

    def __init__(
        self,
        *,
        server: NameServer,
        clock: Clock,
        is_delegated: IsDelegated,
        servers_below: DnsName,
    ) -> None:
        """`servers_below`: the subtree that the names of our name servers lie in, by
        which a zone of ours is known."""
        self._servers_below = servers_below
        self._server = server
        self._clock = clock
        self._is_delegated = is_delegated

    async def look(self, content: ZoneContent) -> Look:
        """Compare and change nothing; raises NameServerError."""
        served = await self._server.read(content.zone, names_of(content))
        match served:
            case NotServed():
                return Look(zone=content.zone, served=None, drift=())
            case ServedZone(records=records):
                found = drifts(difference(content, records))
                return Look(zone=content.zone, served=served, drift=found)
            case _:
                assert_never(served)

    async def publish(self, content: ZoneContent) -> Result:
        """Make the zone be served as `content` says; never raises for what the server
        does. Two publishers at once do no harm: the slower one reads again."""
        try:
            return await self._publish(content)
        except NameServerError as error:
            return Trouble(content.zone, str(error))

    async def withdraw(self, zone: DnsName) -> Trouble | None:
        """Let a released domain's zone go, where it is one of ours."""
        try:
            served = await self._server.read(zone, (zone,))
            if isinstance(served, NotServed):
                return None
            if not self._our_servers(zone, served):
                raise NameServerError(_not_ours(zone))
            await self._server.withdraw(zone)
        except NameServerError as error:
            return Trouble(zone, str(error))
        return None

    async def _publish(self, content: ZoneContent) -> Result:
        served = (await self.look(content)).served
        was_created = False
        if served is None:
            if content.is_shared:
                raise NameServerError(
                    f"the server has no zone {content.zone}: it is the operator's to make"
                )
            if not await self._is_delegated(content.zone):
                return Waiting(content.zone)
            await self._create(content)
            was_created = True
        elif not content.is_shared and not await self._may_change(content, served):
            return Waiting(content.zone)
        mended = await self._mend(content)
        return Published(zone=content.zone, mended=mended, was_created=was_created)

    async def _may_change(self, content: ZoneContent, served: ServedZone) -> bool:
        """Whether the zone is this tenant's: by the name servers that were written when
        it was made, else by its parent, for one that was another tenant's before."""
        servers = self._our_servers(content.zone, served)
        if not servers:
            raise NameServerError(_not_ours(content.zone))
        wanted = set(_name_servers(content.zone, content.records))
        return bool(servers & wanted) or await self._is_delegated(content.zone)

    def _our_servers(self, zone: DnsName, served: ServedZone) -> set[DnsName]:
        found = _name_servers(zone, served.records)
        return {one for one in found if one.is_below(self._servers_below)}

    async def _create(self, content: ZoneContent) -> None:
        servers = _name_servers(content.zone, content.records)
        serial = next_serial(0, unix_seconds=self._now())
        await self._server.create(content.zone, servers, serial=serial)

    async def _mend(self, content: ZoneContent) -> tuple[Drift, ...]:
        names, mended = names_of(content), tuple[Drift, ...]()
        for _ in range(_TRIES):
            served = await self._server.read(content.zone, names)
            if isinstance(served, NotServed):
                raise NameServerError(f"{content.zone} was made, and is not served")
            change = difference(content, served.records)
            if not change:
                return mended
            # What a server passes over in silence (a CNAME in the way) is told.
            mended = mended or drifts(change)
            serial = next_serial(served.serial, unix_seconds=self._now())
            try:
                await self._server.apply(change, seen=served.serial, serial=serial)
            except ZoneMoved:
                mended = ()
        left = (await self.look(content)).drift
        if left:
            first = left[0]
            raise NameServerError(
                f"{first.record.owner} {first.record.kind} {first.what} after "
                f"{_TRIES} updates of {content.zone}"
            )
        return mended

    def _now(self) -> int:
        return self._clock.unix_ms() // 1000


def _name_servers(zone: DnsName, records: Iterable[ZoneRecord]) -> tuple[DnsName, ...]:
    return tuple(
        DnsName(one.value.removesuffix("."))
        for one in records
        if (one.owner, one.kind) == (zone, RecordType.NS)
    )


def _not_ours(zone: DnsName) -> str:
    return (
        f"the server has a zone {zone} that is not of our making: none of its name"
        " servers is ours; it stays as it is until it is taken from the server"
    )
