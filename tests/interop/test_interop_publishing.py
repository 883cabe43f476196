"""Zones kept on real name servers, Knot and BIND: by dynamic updates and by zone files."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import pytest

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.identity.state import KeyState, Mode
from soboo_mta.identity.zones.zone import ZoneContent, ZoneOptions, zone_records
from soboo_mta.identity.zones.zone_extra import extra_record
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.name_servers.files import FileOptions, ZoneDirectory
from soboo_mta.net.name_servers.updates import TsigKey, UpdateOptions, UpdateServer
from soboo_mta.net.name_servers.wire import delegation_signers
from soboo_mta.onboarding.publish.difference import applied
from soboo_mta.onboarding.publish.publisher import (
    Published,
    Publisher,
    Trouble,
    Waiting,
)
from soboo_mta.ports import NameServer, ServedZone, ZoneChange, ZoneMoved, ZoneRecord
from tests.fakes.domains import OPERATOR, SETTINGS, key
from tests.interop.running import run, running

pytestmark = pytest.mark.asyncio(loop_scope="function")

_ZONE = Domain("em.customer.com")
_OWN = DnsName("esp.example")
_SECRET = "c29ib28tbXRhIHRlc3Qga2V5IG9mIDMyIG9jdGV0cyE="
_WRONG = "YW5vdGhlciBrZXksIHRoYXQgbm8gc2VydmVyIGtub3c="
_DELEGATED = replace(SETTINGS, mode=Mode.ZONE, zone=_ZONE)
_EXTRA = (
    extra_record("www.em.customer.com", "CNAME", "pages.example", zone=_ZONE),
    extra_record("@", "TXT", 'proof="a\\b"; c', zone=_ZONE),
    extra_record("@", "CAA", '0 issue "ca.example"', zone=_ZONE),
    extra_record("_sip._tcp.em.customer.com", "SRV", "1 2 5060 h.example", zone=_ZONE),
    extra_record("v6.em.customer.com", "AAAA", "2001:DB8:0::1", zone=_ZONE),
)
_CONTENT = zone_records(_DELEGATED, OPERATOR, ZoneOptions(extra=_EXTRA))
_STARTER = """\
$TTL 300
@ IN SOA ns.esp.example. hostmaster.esp.example. 1 3600 600 1209600 60
@ IN NS ns.esp.example.
ns IN A 192.0.2.53
www IN A 192.0.2.80
"""
_KNOT = """\
server:
    listen: 127.0.0.1@{port}
    rundir: "{home}"
database:
    storage: "{home}"
key:
  - id: soboo
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: soboo
    key: soboo
    action: [transfer, update]
template:
  - id: default
    storage: "{home}"
    acl: soboo
"""
_BIND = """\
options {{
    directory "{home}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{home}/named.pid";
    session-keyfile "{home}/session.key";
    recursion no;
    allow-new-zones yes;
    allow-transfer {{ key soboo; }};
    notify no;
}};
key soboo {{ algorithm hmac-sha256; secret "{secret}"; }};
controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ soboo; }}; }};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One kind of name server, its home, and how the relay writes to it."""

    home: Path
    port: int
    serve: Callable[[], AbstractAsyncContextManager[object]]
    reload: tuple[str, ...]
    create: tuple[str, ...]
    withdraw: tuple[str, ...]

    def updates(self, secret: str = _SECRET, *, at_once: int = 200) -> UpdateServer:
        return UpdateServer(
            UpdateOptions(
                server=(ip_address("127.0.0.1"), self.port),
                key=TsigKey(name=DnsName("soboo"), secret=secret),
                host_master=DnsName("hostmaster.esp.example"),
                create=self.create,
                withdraw=self.withdraw,
                records_at_once=at_once,
            )
        )

    def files(self) -> ZoneDirectory:
        return ZoneDirectory(
            FileOptions(
                directory=self.home / "ours",
                shared=_OWN,
                host_master=DnsName("hostmaster.esp.example"),
                reload=self.reload,
            )
        )


def _script(home: Path, name: str, text: str) -> str:
    file = home / name
    file.write_text(f"#!/bin/sh\nset -e\n{text}")
    file.chmod(0o755)
    return str(file)


def _knot(home: Path, *, by_files: bool) -> Place:
    (port,) = free_ports(1)
    config = home / "knot.conf"
    text = _KNOT.format(port=port, home=home, secret=_SECRET)
    own = f'zone:\n  - domain: {_OWN}\n    file: "{home}/{_OWN}.zone"\n'
    include = f"include: {home}/ours/knot.conf\n" if by_files else ""
    config.write_text(text + own + include)
    database, socket = home / "confdb", home / "knot.sock"
    knotc = f"knotc -s {socket}"
    create = f"""\
cp "$2" {home}/"$1".zone
chmod 644 {home}/"$1".zone
{knotc} conf-begin >/dev/null
{knotc} conf-set "zone[$1]" >/dev/null
{knotc} conf-commit >/dev/null
"""
    withdraw = f"""\
{knotc} conf-begin >/dev/null
{knotc} conf-unset "zone[$1]" >/dev/null
{knotc} conf-commit >/dev/null
"""

    @asynccontextmanager
    async def serve() -> AsyncIterator[object]:
        source = ["-c", str(config)]
        if not by_files:
            if not database.exists():
                made = await run("knotc", "-C", database, "conf-import", config)
                assert made.code == 0, made.text
            source = ["-C", str(database)]
        words = ("/usr/sbin/knotd", *source, "-s", socket)
        async with running(*words, log=home / "log") as process:
            await _until(lambda: _answers(port, _OWN))
            yield process

    return Place(
        home=home,
        port=port,
        serve=serve,
        reload=("knotc", "-s", str(socket), "reload"),
        create=(_script(home, "create", create), "{zone}", "{file}"),
        withdraw=(_script(home, "withdraw", withdraw), "{zone}"),
    )


def _bind(home: Path, *, by_files: bool) -> Place:
    port, control = free_ports(2)
    config, rndc = home / "named.conf", home / "rndc.conf"
    text = _BIND.format(port=port, control=control, home=home, secret=_SECRET)
    own = f'zone "{_OWN}" {{ type primary; file "{home}/{_OWN}.zone"; '
    own += "allow-update { key soboo; }; };\n"
    include = f'include "{home}/ours/named.conf";\n' if by_files else ""
    config.write_text(text + own + include)
    rndc.write_text(
        f'key soboo {{ algorithm hmac-sha256; secret "{_SECRET}"; }};\n'
        "options { default-server 127.0.0.1; default-key soboo; "
        f"default-port {control}; }};\n"
    )
    create = f"""\
cp "$2" {home}/"$1".zone
rndc -c {rndc} addzone "$1" \\
    "{{ type primary; file \\"{home}/$1.zone\\"; allow-update {{ key soboo; }}; }};"
"""

    @asynccontextmanager
    async def serve() -> AsyncIterator[object]:
        words = ("/usr/sbin/named", "-f", "-c", config, "-p", str(port))
        async with running(*words, log=home / "log") as process:
            await _until(lambda: _answers(port, _OWN))
            yield process

    return Place(
        home=home,
        port=port,
        serve=serve,
        reload=("rndc", "-c", str(rndc), "reload"),
        create=(_script(home, "create", create), "{zone}", "{file}"),
        withdraw=("rndc", "-c", str(rndc), "delzone", "-clean", "{zone}"),
    )


_KINDS = {"knot": _knot, "bind": _bind}


@pytest.fixture(params=sorted(_KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _place(kind: str, home: Path, *, by_files: bool = False) -> Place:
    (home / f"{_OWN}.zone").write_text(_STARTER)
    (home / "ours").mkdir()
    for name in ("knot.conf", "named.conf"):
        (home / "ours" / name).touch()
    return _KINDS[kind](home, by_files=by_files)


# ---- both ways


@pytest.mark.parametrize("by_files", [False, True])
async def test_a_zone_is_made_changed_mended_and_withdrawn(
    kind: str, tmp_path: Path, by_files: bool
) -> None:
    place = _place(kind, tmp_path, by_files=by_files)
    server: NameServer = place.files() if by_files else place.updates()
    publisher, waiting = _publisher(server), _publisher(server, delegated=False)
    async with place.serve():
        assert await waiting.publish(_CONTENT) == Waiting(_ZONE)
        assert not await _answers(place.port, _ZONE)

        made = await publisher.publish(_CONTENT)
        assert isinstance(made, Published), made
        assert made.was_created
        await _until(lambda: _serves(place.port, _CONTENT))
        assert await publisher.publish(_CONTENT) == Published(zone=_ZONE, mended=())
        serial = await _serial(server)

        changed = _with_next_keys()
        again = await publisher.publish(changed)
        assert isinstance(again, Published), again
        assert again.mended
        await _until(lambda: _serves(place.port, changed))
        assert 0 < (await _serial(server) - serial) % 2**32 < 2**31

        await _meddle(server)
        drift = (await publisher.look(changed)).drift
        found = {(one.record.kind, one.record.owner, one.what) for one in drift}
        assert ("A", "stray.em.customer.com", "is not to be there") in found
        assert ("MX", "bounce.em.customer.com", "is missing") in found
        assert isinstance(await publisher.publish(changed), Published)
        await _until(lambda: _serves(place.port, changed))
        assert (await publisher.look(changed)).drift == ()

        assert await publisher.withdraw(_ZONE) is None
        await _until(lambda: _is_gone(place.port))
        assert await publisher.withdraw(_ZONE) is None  # there is no more to do


async def test_a_reload_that_failed_is_made_good(kind: str, tmp_path: Path) -> None:
    place = _place(kind, tmp_path, by_files=True)
    publisher = _publisher(place.files())

    failed = await publisher.publish(_CONTENT)  # nothing runs yet
    assert isinstance(failed, Trouble)
    assert "reload: exit code 1: " in failed.cause
    async with place.serve():
        assert isinstance(await publisher.publish(_CONTENT), Published)
        await _until(lambda: _serves(place.port, _CONTENT))


# ---- updates


async def test_a_wrong_key_is_said_clearly(kind: str, tmp_path: Path) -> None:
    place = _place(kind, tmp_path)
    async with place.serve():
        result = await _publisher(place.updates(_WRONG)).publish(_CONTENT)

    assert isinstance(result, Trouble)
    assert "does not accept the TSIG key soboo" in result.cause


async def test_a_server_that_was_down_is_published_to(
    kind: str, tmp_path: Path
) -> None:
    place = _place(kind, tmp_path)
    publisher = _publisher(place.updates())

    down = await publisher.publish(_CONTENT)
    assert isinstance(down, Trouble)
    assert down.cause.startswith("the name server 127.0.0.1, SOA em.customer.com: ")
    async with place.serve():
        assert isinstance(await publisher.publish(_CONTENT), Published)
    async with place.serve():  # it kept the zone over its restart
        assert await publisher.publish(_CONTENT) == Published(zone=_ZONE, mended=())


async def test_the_slower_of_two_writers_changes_nothing(
    kind: str, tmp_path: Path
) -> None:
    place = _place(kind, tmp_path)
    async with place.serve():
        server = place.updates()
        before = await server.read(_OWN, ())
        assert isinstance(before, ServedZone)
        one, two = _added("a.b.esp.example"), _added("b.b.esp.example")
        await server.apply(one, seen=before.serial, serial=before.serial + 1)
        with pytest.raises(ZoneMoved):
            await server.apply(two, seen=before.serial, serial=before.serial + 2)
        after = await server.read(_OWN, ())

    assert isinstance(after, ServedZone)
    assert after.records == applied(one, before.records)


async def test_in_the_operators_zone_all_else_stays(kind: str, tmp_path: Path) -> None:
    place = _place(kind, tmp_path)
    content = ZoneContent(
        zone=_OWN,
        records=_added("tok7.b.esp.example").added,
        grounds=(DnsName("b.esp.example"),),
    )
    async with place.serve():
        server = place.updates()
        before = await server.read(_OWN, ())
        assert isinstance(before, ServedZone)
        assert isinstance(await _publisher(server).publish(content), Published)
        after = await server.read(_OWN, ())

    assert isinstance(after, ServedZone)
    assert set(after.records) == {*before.records, *content.records}


async def test_a_large_change_is_several_messages(kind: str, tmp_path: Path) -> None:
    place = _place(kind, tmp_path)
    names = [f"t{number}.b.esp.example" for number in range(25)]
    records = tuple(one for name in names for one in _added(name).added)
    content = ZoneContent(
        zone=_OWN, records=records, grounds=(DnsName("b.esp.example"),)
    )
    async with place.serve():
        server = place.updates(at_once=10)
        before = await _serial(server, _OWN)
        assert isinstance(await _publisher(server).publish(content), Published)
        assert isinstance(await _publisher(server).publish(content), Published)
        read = await server.read(_OWN, ())

    assert isinstance(read, ServedZone)
    assert set(records) <= set(read.records)
    assert read.serial != before


async def test_where_transfers_are_refused_names_are_asked_for(
    kind: str, tmp_path: Path
) -> None:
    place = _place(kind, tmp_path)
    for name, allowed, refused in (
        ("knot.conf", "[transfer, update]", "[update]"),
        ("named.conf", "allow-transfer { key soboo; };", "allow-transfer { none; };"),
    ):
        config = tmp_path / name
        if config.exists():
            text = config.read_text()
            assert allowed in text
            config.write_text(text.replace(allowed, refused))
    publisher = _publisher(place.updates())
    async with place.serve():
        assert isinstance(await publisher.publish(_CONTENT), Published)
        look = await publisher.look(_CONTENT)
        assert await publisher.publish(_CONTENT) == Published(zone=_ZONE, mended=())
        assert await _serves(place.port, _CONTENT)

    assert look.served is not None
    assert not look.served.is_whole


async def test_a_zone_that_knot_signs_stays_signed(tmp_path: Path) -> None:
    place = _place("knot", tmp_path)
    config = tmp_path / "knot.conf"
    text = config.read_text()
    config.write_text(f"{text}    dnssec-signing: on\n")
    records = _added("tok7.b.esp.example").added
    content = ZoneContent(
        zone=_OWN, records=records, grounds=(DnsName("b.esp.example"),)
    )
    async with place.serve():
        server = place.updates()
        assert isinstance(await _publisher(server).publish(content), Published)
        await _until(lambda: _serves(place.port, content))
        read = await server.read(_OWN, ())

    assert isinstance(read, ServedZone)
    assert {"DNSKEY", "NSEC"} <= {one.kind for one in read.records}
    signed = {one.owner for one in read.records if one.kind == "RRSIG"}
    assert records[0].owner in signed
    signers = delegation_signers(_OWN, read.records)
    assert signers
    without = [one for one in read.records if one.kind not in ("CDS", "CDNSKEY")]
    assert delegation_signers(_OWN, without) == signers


# ---- parts


def _publisher(server: NameServer, *, delegated: bool = True) -> Publisher:
    async def is_delegated(zone: DnsName) -> bool:
        return delegated

    return Publisher(
        server=server,
        clock=SystemClock(),
        is_delegated=is_delegated,
        servers_below=DnsName("n.esp.example"),
    )


def _with_next_keys() -> ZoneContent:
    keys = (key(1, "sb1", KeyState.REVOKED), key(2, "sb2"), key(3, "sb3"))
    settings = replace(_DELEGATED, keys=keys)
    return zone_records(settings, OPERATOR, ZoneOptions(extra=_EXTRA[:1]))


def _added(name: str) -> ZoneChange:
    record = ZoneRecord(owner=DnsName(name), kind="A", value="192.0.2.1", ttl=300)
    return ZoneChange(zone=_OWN, removed=(), added=(record,))


async def _meddle(server: NameServer) -> None:
    """Somebody else adds one record and takes others away."""
    held = await server.read(_ZONE, ())
    assert isinstance(held, ServedZone)
    stray = replace(_added("stray.em.customer.com").added[0])
    gone = [one for one in held.records if one.owner == "bounce.em.customer.com"]
    change = ZoneChange(zone=_ZONE, removed=tuple(gone), added=(stray,))
    await server.apply(change, seen=held.serial, serial=held.serial + 1)


async def _serial(server: NameServer, zone: DnsName = _ZONE) -> int:
    held = await server.read(zone, ())
    assert isinstance(held, ServedZone)
    return held.serial


async def _ask(port: int, name: str, kind: str) -> dns.message.Message | None:
    question = dns.message.make_query(name, kind)
    try:
        return await dns.asyncquery.tcp(question, "127.0.0.1", timeout=2, port=port)
    except (dns.exception.DNSException, OSError, EOFError):
        return None


async def _answers(port: int, zone: str) -> bool:
    answer = await _ask(port, zone, "SOA")
    return answer is not None and bool(answer.answer)


async def _is_gone(port: int) -> bool:
    return not await _answers(port, _ZONE)


async def _serves(port: int, content: ZoneContent) -> bool:
    """Whether every wanted record is in the server's answers, as the resolver reads."""
    for one in content.records:
        answer = await _ask(port, one.owner, one.kind)
        if answer is None or not answer.answer:
            return False
        text = answer.answer[0].to_text().replace('" "', "").replace("\\", "")
        if one.value.replace("\\", "") not in text.replace('"', "") and (
            one.value.replace("\\", "") not in text
        ):
            return False
    return True


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)
