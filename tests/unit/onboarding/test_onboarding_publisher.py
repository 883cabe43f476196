"""The publisher against a name server that other writers change as well."""

from collections.abc import Sequence
from dataclasses import replace

from soboo_mta.identity.zones.zone import ZoneContent
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.publish.difference import applied
from soboo_mta.onboarding.publish.publisher import (
    Published,
    Publisher,
    Trouble,
    Waiting,
)
from soboo_mta.ports import (
    NotServed,
    ServedZone,
    ZoneChange,
    ZoneMoved,
    ZoneRecord,
)
from tests.fakes.clock import FakeClock

_ZONE = DnsName("em.customer.com")
_A = ZoneRecord(owner=_ZONE, kind="A", value="192.0.2.1", ttl=300)
_NS = ZoneRecord(owner=_ZONE, kind="NS", value="ns1.tok7.n.esp.example.", ttl=3600)
_CONTENT = ZoneContent(zone=_ZONE, records=(_NS, _A), grounds=(_ZONE,))


class FakeNameServer:
    """Zones in memory; `rivals` writers are faster than we are, one update each."""

    def __init__(self, *, rivals: int = 0, is_deaf: bool = False) -> None:
        self.zones: dict[DnsName, ServedZone] = {}
        self.rivals = rivals
        self.is_deaf = is_deaf

    async def read(
        self, zone: DnsName, names: Sequence[DnsName]
    ) -> ServedZone | NotServed:
        return self.zones.get(zone, NotServed())

    async def create(
        self, zone: DnsName, name_servers: Sequence[DnsName], *, serial: int
    ) -> None:
        records = tuple(replace(_NS, value=f"{one}.") for one in name_servers)
        self.zones[zone] = ServedZone(serial=serial, records=records)

    async def apply(self, change: ZoneChange, *, seen: int, serial: int) -> None:
        held = self.zones[change.zone]
        if self.rivals:
            self.rivals -= 1
            self.zones[change.zone] = ServedZone(
                serial=held.serial + 1, records=held.records
            )
            raise ZoneMoved("a rival was faster")
        assert (serial - seen) % 2**32 > 0
        if not self.is_deaf:
            records = applied(change, held.records)
            self.zones[change.zone] = ServedZone(serial=serial, records=records)

    async def withdraw(self, zone: DnsName) -> None:
        self.zones.pop(zone, None)


def _publisher(server: FakeNameServer, *, delegated: bool = True) -> Publisher:
    async def is_delegated(zone: DnsName) -> bool:
        return delegated

    return Publisher(
        server=server,
        clock=FakeClock(),
        is_delegated=is_delegated,
        servers_below=DnsName("n.esp.example"),
    )


def _held(server: FakeNameServer, name_server: str) -> ServedZone:
    """Let the server have the zone with one other record already."""
    records = (
        replace(_NS, value=f"{name_server}."),
        replace(_A, value="192.0.2.9"),
    )
    server.zones[_ZONE] = ServedZone(serial=1, records=records)
    return server.zones[_ZONE]


async def test_a_slower_writer_reads_again() -> None:
    server = FakeNameServer(rivals=2)
    result = await _publisher(server).publish(_CONTENT)

    assert isinstance(result, Published)
    assert len(result.mended) == 1
    assert set(server.zones[_ZONE].records) == {_A, _NS}


async def test_rivals_without_end_are_a_trouble() -> None:
    result = await _publisher(FakeNameServer(rivals=99)).publish(_CONTENT)

    assert isinstance(result, Trouble)
    assert "after 3 updates of em.customer.com" in result.cause


async def test_a_server_that_passes_over_an_update_is_a_trouble() -> None:
    result = await _publisher(FakeNameServer(is_deaf=True)).publish(_CONTENT)

    assert isinstance(result, Trouble)
    assert "em.customer.com A is missing" in result.cause


async def test_a_shared_zone_is_never_made() -> None:
    server = FakeNameServer()
    shared = ZoneContent(zone=_ZONE, records=(_A,), grounds=(DnsName("b.x.example"),))
    result = await _publisher(server).publish(shared)

    assert isinstance(result, Trouble)
    assert "it is the operator's to make" in result.cause
    assert server.zones == {}


async def test_a_zone_that_the_server_has_for_others_is_left_alone() -> None:
    server = FakeNameServer()
    before = _held(server, "ns.other.example")
    publisher = _publisher(server)

    for result in (await publisher.publish(_CONTENT), await publisher.withdraw(_ZONE)):
        assert isinstance(result, Trouble)
        assert "em.customer.com that is not of our making" in result.cause
    assert server.zones[_ZONE] == before


async def test_another_tenants_zone_changes_hands_by_its_parent_alone() -> None:
    server = FakeNameServer()
    before = _held(server, "ns1.tok6.n.esp.example")

    waiting = await _publisher(server, delegated=False).publish(_CONTENT)
    assert waiting == Waiting(_ZONE)
    assert server.zones[_ZONE] == before
    assert isinstance(await _publisher(server).publish(_CONTENT), Published)
    assert _A in server.zones[_ZONE].records


async def test_a_zone_of_ours_is_withdrawn() -> None:
    server = FakeNameServer()
    _held(server, "ns1.tok6.n.esp.example")

    assert await _publisher(server).withdraw(_ZONE) is None
    assert server.zones == {}
    assert await _publisher(server).withdraw(_ZONE) is None  # there is no more to do
