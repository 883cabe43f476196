"""Knot and BIND as a story needs them: on port 53 of loopback addresses of its own, where
resolvers follow real delegations; a zone is a file that somebody writes and has read.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from soboo_mta.cli.trial.world import free_ports
from tests.interop.running import run, running

SECRET = "c29ib28tbXRhIHRlc3Qga2V5IG9mIDMyIG9jdGV0cyE="
"""Of the TSIG key "soboo", which may update and transfer."""
_HEAD = """\
$ORIGIN {origin}.
$TTL 1
@ SOA ns1.{origin}. hostmaster.{origin}. {serial} 2 2 1000 1
@ NS ns1.{origin}.
ns1 A {address}
"""
_KNOT = """\
server:
{listen}
    rundir: "{home}"
database:
    storage: "{home}"
log:
  - target: stderr
    any: warning
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
    file: "%s.zone"
    acl: soboo
    zonefile-load: difference-no-serial
    zonefile-sync: -1
    journal-content: all
{defaults}
"""
_BIND = """\
options {{
    directory "{home}";
    listen-on port 53 {{ {listen} }};
    listen-on-v6 {{ none; }};
    pid-file "{home}/named.pid";
    session-keyfile "{home}/session.key";
    recursion no;
    allow-transfer {{ key soboo; }};
    notify no;
}};
key soboo {{ algorithm hmac-sha256; secret "{secret}"; }};
controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ soboo; }}; }};
"""


@dataclass(slots=True, kw_only=True)
class ZoneFile:
    """A zone that its owner edits: `lines` are relative to `origin`."""

    home: Path
    origin: str
    address: str  # of its first server
    serial: int = field(default=0, init=False)

    @property
    def path(self) -> Path:
        return self.home / f"{self.origin}.zone"

    def write(self, lines: Sequence[str]) -> None:
        """Replace all that it holds beside SOA and NS."""
        self.serial += 1
        head = _HEAD.format(
            origin=self.origin, serial=self.serial, address=self.address
        )
        self.path.write_text(head + "\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running name server; `control` are the words that begin its own command."""

    home: Path
    addresses: tuple[str, ...]
    process: asyncio.subprocess.Process
    control: tuple[str, ...]

    async def publish(self, zone: ZoneFile, lines: Sequence[str]) -> None:
        """Write the zone and wait until the server has it."""
        zone.write(lines)
        self.process.send_signal(signal.SIGHUP)  # either reads its zones again
        await until_serial(self.addresses[0], zone)


def zone_file(home: Path, origin: str, address: str) -> ZoneFile:
    """Return the zone, written empty, in a folder that its server has."""
    home.mkdir(exist_ok=True)
    zone = ZoneFile(home=home, origin=origin, address=address)
    zone.write(())
    return zone


@asynccontextmanager
async def knot(
    zones: Sequence[ZoneFile], *addresses: str, signed: bool = False, more: str = ""
) -> AsyncIterator[Server]:
    """Run knotd with these zones of one folder. `signed`: with DNSSEC, those that are
    made later too; `more` is appended to its configuration file."""
    home = zones[0].home
    config, socket, database = home / "knot.conf", home / "knot.sock", home / "confdb"
    text = _KNOT.format(
        listen="\n".join(f"    listen: {one}@53" for one in addresses),
        home=home,
        secret=SECRET,
        defaults="    dnssec-signing: on" if signed else "",
    )
    own = "".join(f"  - domain: {one.origin}\n" for one in zones)
    config.write_text(f"{text}zone:\n{own}{more}")
    source = ("-c", str(config))
    if not more:  # zones can be made while it runs
        made = await run("knotc", "-C", database, "conf-import", config)
        assert made.code == 0, made.text
        source = ("-C", str(database))
    words = ("/usr/sbin/knotd", *source, "-s", str(socket))
    async with running(*words, log=home / "log") as process:
        for zone in zones:
            await until_serial(addresses[0], zone, at_least=0)
        yield Server(
            home=home,
            addresses=addresses,
            process=process,
            control=("knotc", "-s", str(socket)),
        )


@asynccontextmanager
async def bind(
    zones: Sequence[ZoneFile], *addresses: str, options: str = "", more: str = ""
) -> AsyncIterator[Server]:
    """Run named with these zones of one folder; `options` go into each zone's clause."""
    home = zones[0].home
    (control,) = free_ports(1)
    config, rndc = home / "named.conf", home / "rndc.conf"
    text = _BIND.format(
        listen=" ".join(f"{one};" for one in addresses),
        home=home,
        secret=SECRET,
        control=control,
    )
    own = "".join(
        f'zone "{one.origin}" {{ type primary; file "{one.path}"; {options} }};\n'
        for one in zones
    )
    config.write_text(text + own + more)
    rndc.write_text(
        f'key soboo {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
        "options { default-server 127.0.0.1; default-key soboo; "
        f"default-port {control}; }};\n"
    )
    words = ("/usr/sbin/named", "-g", "-c", config)
    async with _known(addresses), running(*words, log=home / "log") as process:
        for zone in zones:
            await until_serial(addresses[0], zone, at_least=0)
        yield Server(
            home=home,
            addresses=addresses,
            process=process,
            control=("rndc", "-c", str(rndc)),
        )


@asynccontextmanager
async def _known(addresses: Sequence[str]) -> AsyncIterator[None]:
    """BIND listens on addresses that an interface has by name; 127/8 is not enough."""
    for one in addresses:
        await run("ip", "address", "replace", f"{one}/32", "dev", "lo")
    try:
        yield
    finally:
        for one in addresses:
            await run("ip", "address", "del", f"{one}/32", "dev", "lo")


async def until_serial(
    address: str, zone: ZoneFile, *, at_least: int | None = None
) -> None:
    """Wait until the server at `address` has the zone, as it was last written."""
    wanted = zone.serial if at_least is None else at_least
    async with asyncio.timeout(15):
        while await _serial(address, zone.origin) < wanted:
            await asyncio.sleep(0.02)


async def ask(address: str, name: str, kind: str) -> dns.message.Message | None:
    """Return the answer of port 53 there, with DNSSEC; None where none comes."""
    query = dns.message.make_query(name, kind, want_dnssec=True)
    try:
        return await dns.asyncquery.tcp(query, address, timeout=2)
    except (dns.exception.DNSException, OSError, EOFError):
        return None


async def _serial(address: str, origin: str) -> int:
    answer = await ask(address, origin, "SOA")
    if answer is None or answer.rcode() != dns.rcode.NOERROR or not answer.answer:
        return -1
    return int(answer.answer[0][0].serial)
