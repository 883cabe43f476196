"""The zone files we print, in real name servers: BIND's and Knot's checkers load them;
Knot serves them, Unbound resolves them, and `domain verify` finds all good there.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World, free_ports, world
from tests.interop.house import ACME, NORDWIND, VEREIN, settle_in
from tests.interop.running import run, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

_OPERATOR = "esp.example"
_CUSTOMERS = (ACME, VEREIN, NORDWIND)
_HEAD = """\
$ORIGIN {origin}
$TTL 300
@ IN SOA ns1.lab.test. hostmaster.lab.test. {serial} 3600 600 1209600 1
@ IN NS ns1.lab.test.
"""
_KNOT = """\
server:
    listen: 127.0.0.1@{port}
    rundir: "{home}"
database:
    storage: "{home}"
zone:
"""
_UNBOUND = """\
server:
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 127.0.0.1@{port}
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "test." nodefault
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
remote-control:
    control-enable: no
"""
_STUB = """\
stub-zone:
    name: "{origin}"
    stub-addr: 127.0.0.1@{knot}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """Zone files as an operator makes them: a head, then what we printed, included."""

    home: Path

    def file(self, origin: str) -> Path:
        return self.home / f"{origin}.zone"

    def write(
        self, origin: str, records: str, *, own: Iterable[str] = (), serial: int = 1
    ) -> None:
        """`records` as they were printed; `own` are lines of the zone's owner."""
        (self.home / f"{origin}.records").write_text(records)
        dotted = origin if origin.endswith(".") else f"{origin}."
        head = _HEAD.format(origin=dotted, serial=serial)
        included = f"$INCLUDE {self.home}/{origin}.records"
        self.file(origin).write_text("\n".join([head, *own, included, ""]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Customers and their keys; no relay runs."""
    (port,) = free_ports(1)
    directory = tmp_path_factory.mktemp("zones") / "world"
    async with world(directory, port=port) as inside:
        await settle_in(inside)
        yield inside


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def printed(place: World, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    zones = Printed(home=tmp_path_factory.mktemp("printed"))
    words = ("domain", "records", "--no-dns", "--format", "zone")
    # Hosts that the operator has anyway; a zone checker asks for their addresses.
    own = ["mx A 127.0.0.1"]
    zones.write(_OPERATOR, await place.command(*words, "--operator"), own=own)
    for domain in _CUSTOMERS:
        zones.write(domain, await place.command(*words, domain))
    zones.write("lab.test", "", own=["ns1 A 127.0.0.1"])
    zones.write(".", "")
    return zones


@pytest.mark.parametrize("origin", [_OPERATOR, *_CUSTOMERS])
async def test_case_175_binds_checker_loads_the_zone(
    printed: Printed, origin: str
) -> None:
    checks = ("-k", "fail", "-n", "fail", "-m", "fail", "-M", "fail", "-i", "local")
    ended = await run("named-checkzone", *checks, origin, printed.file(origin))
    assert ended.code == 0, ended.text
    assert ended.text.rstrip().endswith("OK")
    # As BIND reads it nothing is lost: one record for each that was printed.
    wanted = _count((printed.home / f"{origin}.records").read_text())
    compiled = await run(
        "named-checkzone", "-D", "-o", "-", origin, printed.file(origin)
    )
    head = 3 if origin == _OPERATOR else 2
    assert len(re.findall(r"\sIN\s", compiled.out)) == wanted + head, compiled.out


@pytest.mark.parametrize("origin", [_OPERATOR, *_CUSTOMERS])
async def test_case_175_knots_checker_loads_the_zone(
    printed: Printed, origin: str
) -> None:
    ended = await run("kzonecheck", "-o", f"{origin}.", printed.file(origin))
    assert ended.code == 0, ended.text
    assert "warning" not in ended.text, ended.text


async def test_case_175_what_knot_serves_is_verified(
    place: World, printed: Printed, tmp_path: Path
) -> None:
    async with _name_servers(place, printed, tmp_path) as serve:
        for domain in _CUSTOMERS:
            await place.command("domain", "verify", domain)  # its exit code says it
        whole = (printed.home / f"{ACME}.records").read_text()
        broken = "\n".join(
            line
            for line in whole.splitlines()
            if not line.startswith("sb1._domainkey.")
        )
        printed.write(ACME, broken + "\n", serial=2)
        await serve(ACME, 2)
        said = await place.command("domain", "verify", ACME, codes=(1,))
        assert f"sb1._domainkey.{ACME}" in said
        assert "missing" in said, said
        printed.write(ACME, whole, serial=3)
        await serve(ACME, 3)
        await place.command("domain", "verify", ACME)


@asynccontextmanager
async def _name_servers(
    place: World, printed: Printed, directory: Path
) -> AsyncIterator[Callable[[str, int], Awaitable[None]]]:
    """Knot for the zones, Unbound before it, the relay's settings turned to them; yields
    a coroutine function that has Knot serve (origin, serial)."""
    knot, unbound = free_ports(2)
    config = directory / "knot.conf"
    origins = (_OPERATOR, *_CUSTOMERS, "lab.test", ".")
    zones = "".join(
        f'  - domain: "{origin}"\n    file: "{printed.file(origin)}"\n'
        for origin in origins
    )
    config.write_text(_KNOT.format(port=knot, home=directory) + zones)
    resolver = directory / "unbound.conf"
    # A stub for each zone: Unbound would ask the servers it learns of at port 53.
    stubs = "".join(_STUB.format(origin=origin, knot=knot) for origin in origins)
    resolver.write_text(_UNBOUND.format(port=unbound, home=directory) + stubs)
    settings = place.config.read_text()
    lab = place.lab.dns_port
    place.config.write_text(
        settings.replace(
            f'resolvers = ["127.0.0.1:{lab}"]', f'resolvers = ["127.0.0.1:{unbound}"]'
        ).replace(f"authoritative_port = {lab}", f"authoritative_port = {knot}")
    )
    assert place.config.read_text().count(str(knot)) == 1
    log = directory / "servers.log"
    async with (
        running("/usr/sbin/knotd", "-c", config, log=log) as served,
        running("/usr/sbin/unbound", "-d", "-c", resolver, log=log),
    ):
        await place.until("Unbound answers", lambda: _serves(unbound, ACME, 1))

        async def serve(origin: str, serial: int) -> None:
            served.send_signal(1)  # SIGHUP: read zones again
            await place.until("Knot reloads", lambda: _serves(knot, origin, serial))

        try:
            yield serve
        finally:
            place.config.write_text(settings)


async def _serves(port: int, origin: str, serial: int) -> bool:
    question = dns.message.make_query(origin, "SOA")
    try:
        answer = await dns.asyncquery.udp(question, "127.0.0.1", timeout=1, port=port)
    except (dns.exception.DNSException, OSError):
        return False
    return any(rrset[0].serial == serial for rrset in answer.answer)


def _count(records: str) -> int:
    return sum(1 for line in records.splitlines() if line and line[0] != ";")
