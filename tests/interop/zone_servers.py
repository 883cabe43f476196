"""Real name servers with given zones, and a resolver before them, beside a test."""

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.net.dns.questions import ResolverOptions

_RESOLVER = "127.0.7.9"
SILENT = "silent.example"  # whose servers don't have it: the resolver says SERVFAIL
_KNOT = """\
server:
    listen: {address}@{port}
    rundir: "{home}"
database:
    storage: "{home}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{home}"
    file: "%s.zone"
    zonefile-sync: -1
zone:
"""
_UNBOUND = """\
server:
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: {resolver}@{port}
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "test." nodefault
remote-control:
    control-enable: no
stub-zone:
    name: "{silent}"
    stub-addr: {first}@{knot}
"""
_STUB = """\
stub-zone:
    name: "{origin}"
    stub-addr: {server}@{knot}
"""


@dataclass(frozen=True)
class ZoneServers:
    """The running servers; `options` asks them."""

    home: Path
    options: ResolverOptions
    knots: Mapping[str, "subprocess.Popen[bytes]"]

    def change(self, address: str, origin: str, text: str) -> None:
        """Serve another zone file, of another serial; return once it is."""
        (self.home / address / f"{origin}.zone").write_text(text)
        self.knots[address].send_signal(signal.SIGHUP)
        serial = text.split("SOA", 1)[1].split()[2]
        port = self.options.authoritative_port
        _until_it_answers(address, port, self.home, origin, serial)


@contextmanager
def zone_servers(
    home: Path, zones: Mapping[str, dict[str, str]]
) -> Iterator[ZoneServers]:
    """Knot at each address of `zones` (address → origin → zone file), and Unbound."""
    knot, unbound = free_ports(2)
    stubs, knots = "", {}
    for address, files in zones.items():
        stubs += _written(home / address, address, knot, files)
        config = str(home / address / "knot.conf")
        knots[address] = _started(home / f"{address}.log", "knotd", "-c", config)
    config = _UNBOUND.format(
        home=home,
        resolver=_RESOLVER,
        port=unbound,
        silent=SILENT,
        first=next(iter(zones)),
        knot=knot,
    )
    (home / "unbound.conf").write_text(config + stubs)
    command = ("unbound", "-d", "-c", str(home / "unbound.conf"))
    resolver = _started(home / "unbound.log", *command)
    try:
        for address, files in zones.items():
            _until_it_answers(address, knot, home, next(iter(files)))
        _until_it_answers(_RESOLVER, unbound, home, "test")
        options = ResolverOptions(
            servers=((ip_address(_RESOLVER), unbound),),
            timeout=timedelta(seconds=2),
            authoritative_port=knot,
        )
        yield ZoneServers(home, options, knots)
    finally:
        for server in (*knots.values(), resolver):
            server.send_signal(signal.SIGTERM)
            server.wait(20)


def _written(home: Path, address: str, port: int, files: dict[str, str]) -> str:
    """Write the zones and the settings of one Knot; return how Unbound finds it, since a
    delegation does not say on which port its servers listen."""
    home.mkdir()
    config = _KNOT.format(address=address, port=port, home=home)
    stubs = ""
    for origin, text in files.items():
        (home / f"{origin}.zone").write_text(text)
        config += f'  - domain: "{origin}"\n'
        stubs += _STUB.format(origin=origin, server=address, knot=port)
    (home / "knot.conf").write_text(config)
    return stubs


def _started(log: Path, *command: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def _until_it_answers(
    address: str, port: int, home: Path, origin: str, serial: str = ""
) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            query = dns.message.make_query(origin, "SOA")
            reply = dns.query.udp(query, address, port=port, timeout=0.5)
        except (dns.exception.DNSException, OSError):
            reply = None
        said = str(reply.answer[0]).split() if reply and reply.answer else []
        if said and (not serial or serial in said):
            return
        logs = {log.name: log.read_text()[-2_000:] for log in home.glob("*.log")}
        assert time.monotonic() < deadline, logs
        time.sleep(0.05)
