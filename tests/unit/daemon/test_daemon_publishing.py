"""The duty that keeps zones published: at once, at a change, and after a trouble."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from soboo_mta.cli.context import CliStore, open_store
from soboo_mta.daemon.publishing import duty
from soboo_mta.daemon.publishing.duty import Publishing
from soboo_mta.daemon.publishing.rounds import noted, policies_to_keep
from soboo_mta.daemon.publishing.zones import Zones, zones_of
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.onboarding.publish.publisher import Published, Waiting
from soboo_mta.settings.options import writer_options
from soboo_mta.store import schema
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.accounts import Tenant, add_tenant
from soboo_mta.tenancy.domains import NewDomain, release_domain
from soboo_mta.tenancy.domains.zones import keep_policy
from soboo_mta.tenancy.signing.keys import add_domain, first_pairs
from tests.fakes.dns import FakeResolver
from tests.fakes.settings import SETTINGS
from tests.fakes.tenancy import MASTER

_ACME = Tenant(
    tenant_id=TenantId("acme"),
    name="Acme",
    suspended=False,
    weight=1,
    hourly_quota=None,
    daily_quota=None,
)
_PUBLISH = """
[publish]
directory = "zones"
reload = ["test", "-e", "{mark}"]
name_servers = ["8.8.8.8"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    store: CliStore
    home: Path

    @property
    def published(self) -> str:
        file = self.home / "zones" / "esp.example.records"
        return file.read_text() if file.exists() else ""

    @property
    def is_due(self) -> bool:
        return (self.home / "zones" / "reload-is-due").exists()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(duty, "_LOOK", timedelta(milliseconds=5))
    MASTER.write_new(tmp_path / "master.key")
    (tmp_path / "zones").mkdir()
    (tmp_path / "mark").touch()
    config = tmp_path / "soboo.toml"
    config.write_text(SETTINGS + _PUBLISH.replace("{mark}", str(tmp_path / "mark")))
    return Place(open_store(config), tmp_path)


@asynccontextmanager
async def _running(place: Place, holder: str = "one:1") -> AsyncIterator[None]:
    store = place.store
    writer = Writer(store.engine, options=writer_options(store.settings))
    await writer.start()
    publishing = Publishing(
        settings=store.settings, writer=writer, clock=store.clock, holder=holder
    )
    task = asyncio.create_task(publishing.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await writer.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


_CNAME = NewDomain(tenant=TenantId("acme"), name=Domain("customer.com"))


def _add(store: CliStore, new: NewDomain = _CNAME) -> str:
    """A customer; returns the token of its names."""
    pairs = first_pairs(new)
    write_now(
        store.engine,
        lambda at: add_tenant(at, _ACME, now=1),
    )
    made = write_now(
        store.engine, lambda at: add_domain(at, store.master, new, pairs, now=1)
    )
    return made.token


async def test_a_new_customer_is_published_at_once(place: Place) -> None:
    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)
        token = _add(place.store)
        await _until(lambda: f"sb1.{token}.k.esp.example" in place.published)
        assert f"{token}.b.esp.example" in place.published


def test_reports_on_a_verified_domain_and_its_organization_are_taken(
    place: Place,
) -> None:
    shop = Domain("mail.shop.customer.co.uk")
    _add(place.store, NewDomain(tenant=TenantId("acme"), name=shop))

    def taken() -> set[str]:
        (own,) = [one for one in _zones(place).contents if one.zone == "esp.example"]
        end = "._report._dmarc.esp.example"
        names = (str(one.owner) for one in own.records if one.value == "v=DMARC1")
        return {name.removesuffix(end) for name in names}

    assert taken() == set()
    proved = update(schema.sending_domain).values(verified_at=2)
    write_now(place.store.engine, lambda at: at.execute(proved))
    assert taken() == {"mail.shop.customer.co.uk", "customer.co.uk"}


async def test_a_file_that_the_operator_made_empty_is_filled(place: Place) -> None:
    (place.home / "zones" / "esp.example.records").touch()  # its zone includes it
    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)


async def test_a_server_that_fails_is_told_again(place: Place) -> None:
    (place.home / "mark").unlink()
    async with _running(place):
        await _until(lambda: place.is_due and bool(place.published))
        (place.home / "mark").touch()
        await _until(lambda: not place.is_due)


async def test_a_zone_that_has_no_room_for_its_names_keeps_no_other_back(
    place: Place,
) -> None:
    """Verified, it would also be too long below the operator's own name."""
    long = Domain(".".join(["x" * 60] * 4) + ".com")
    _add(
        place.store,
        NewDomain(tenant=TenantId("acme"), name=long, mode=Mode.ZONE, zone=long),
    )
    zones = _zones(place)
    (trouble,) = zones.unfit
    assert trouble.zone == long
    assert "is too long for DNS" in trouble.cause
    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)


_APEX = NewDomain(
    tenant=TenantId("acme"),
    name=Domain("customer.com"),
    mode=Mode.ZONE,
    zone=Domain("customer.com"),
)
_OURS, _THEIRS = "v=DMARC1; p=none", "v=DMARC1; p=reject; rua=mailto:d@customer.com"


async def test_what_the_zone_said_of_dmarc_is_kept_until_it_is_delegated(
    place: Place,
) -> None:
    _add(place.store, _APEX)
    resolver = FakeResolver()
    resolver.add("_dmarc.customer.com", "TXT", _THEIRS)
    waiting = [Waiting(_APEX.name)]

    ((of, text),) = await policies_to_keep(_zones(place), waiting, resolver)
    assert (of.name, text) == (_APEX.name, _THEIRS)
    write_now(place.store.engine, lambda at: keep_policy(at, of, text))
    assert _THEIRS in [one.value for one in _zones(place).contents[1].records]

    resolver.replace("_dmarc.customer.com", "TXT", _OURS)  # its owner thinks again
    ((_, text),) = await policies_to_keep(_zones(place), waiting, resolver)
    assert text == _OURS
    served = [Published(zone=_APEX.name, mended=())]
    assert await policies_to_keep(_zones(place), served, resolver) == []


async def test_silence_is_not_kept_as_no_policy(place: Place) -> None:
    _add(place.store, _APEX)
    resolver = FakeResolver(silent={"_dmarc.customer.com"})

    assert await policies_to_keep(_zones(place), [Waiting(_APEX.name)], resolver) == []
    values = [one.value for one in _zones(place).contents[1].records]
    assert not [one for one in values if one.startswith("v=DMARC1")]


def _zones(place: Place) -> Zones:
    store = place.store
    return read_now(store.engine, lambda at: zones_of(at, store.settings, SuffixList()))


async def test_of_two_processes_one_publishes_and_the_other_takes_over(
    place: Place,
) -> None:
    def holder() -> str | None:
        query = select(schema.duty.c.holder).where(schema.duty.c.lease_until > 0)
        return read_now(place.store.engine, lambda at: at.scalar(query))

    async with _running(place, "two:2"):
        async with _running(place, "one:1"):
            await _until(lambda: "_spf.esp.example" in place.published)
            first = holder()
            assert first in ("one:1", "two:2")
        # The first of them may be the one that has gone: nothing waits for its lease.
        _add(place.store)
        await _until(lambda: ".b.esp.example" in place.published)
        assert holder() == "two:2"
    assert holder() is None


async def test_what_somebody_else_changed_is_an_event_and_our_own_change_is_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "_AT_LEAST", timedelta(milliseconds=5))
    file = place.home / "zones" / "esp.example.records"

    async with _running(place):
        await _until(lambda: "_spf.esp.example" in place.published)
        _add(place.store)
        await _until(lambda: ".b.esp.example" in place.published)
        await _until(lambda: not place.is_due)
        assert _events(place) == []
        lines = place.published.splitlines(keepends=True)
        file.write_text("".join(one for one in lines if not one.startswith("_spf.")))
        await _until(lambda: _events(place) != [])

    ((kind, detail),) = _events(place)
    assert kind == "zone-mended"
    assert json.loads(detail) == {
        "zone": "esp.example",
        "changes": ["_spf.esp.example TXT is missing"],
        "changed": 1,
    }


def test_a_zone_that_was_made_is_an_event_of_its_domain(place: Place) -> None:
    _add(place.store, _APEX)
    made = Published(zone=_APEX.name, mended=(), was_created=True)

    (statement,) = noted(_zones(place), [made], {}, now=7)
    write_now(place.store.engine, lambda at: perform(at, statement))
    query = select(schema.event.c.kind, schema.event.c.tenant_id, schema.event.c.domain)
    found = read_now(place.store.engine, lambda at: at.execute(query).all())
    assert found == [("zone-created", "acme", "customer.com")]


def _events(place: Place) -> list[tuple[str, str]]:
    query = select(schema.event.c.kind, schema.event.c.detail)
    found = read_now(place.store.engine, lambda at: at.execute(query).all())
    return [(kind, detail) for kind, detail in found]


def test_a_zone_goes_to_whom_its_parent_led_last(place: Place) -> None:
    """Of two From domains in one zone no proof takes the other's name: whose the zone
    is, the later proof says."""
    zone = Domain("em.customer.com")
    old = NewDomain(tenant=TenantId("acme"), name=_APEX.name, mode=Mode.ZONE, zone=zone)
    new = NewDomain(tenant=TenantId("acme"), name=zone, mode=Mode.ZONE, zone=zone)
    _add(place.store, old)
    token = write_now(
        place.store.engine,
        lambda at: add_domain(at, place.store.master, new, first_pairs(new), now=2),
    ).token
    for name, verified_at in ((old.name, 10), (new.name, 20)):
        write_now(
            place.store.engine, partial(_verify, name=name, verified_at=verified_at)
        )

    assert _zones(place).owners[zone].token == token

    write_now(place.store.engine, partial(_lead_to, name=old.name, zone=zone))
    assert _zones(place).owners[zone].name == old.name  # it came back


def _lead_to(connection: Connection, name: Domain, zone: Domain) -> None:
    """What the last look at `name` saw: its delegation."""
    of = select(schema.sending_domain.c.id).where(schema.sending_domain.c.name == name)
    connection.execute(
        insert(schema.record_check).values(
            domain_id=connection.scalar(of),
            owner=zone,
            kind="NS",
            purpose="ownership",
            status="good",
            expected="",
            found="",
            cause="",
            mend="",
            ttl=0,
            checked_at=30,
        )
    )


def _verify(connection: Connection, name: Domain, verified_at: int) -> None:
    connection.execute(
        update(schema.sending_domain)
        .where(schema.sending_domain.c.name == name)
        .values(verified_at=verified_at)
    )


def test_a_released_zone_that_is_the_name_itself_is_withdrawn(place: Place) -> None:
    """Of an older release: no zone stands in its row, and a release changes the name."""
    _add(place.store, _APEX)
    (of,) = _zones(place).owners.values()

    def release(connection: Connection) -> None:
        row = schema.sending_domain
        connection.execute(update(row).values(zone=None))
        release_domain(connection, of, now=2)

    write_now(place.store.engine, release)
    assert _zones(place).released == ("customer.com",)
