"""What it costs to watch many domains: one process, a name server, all records right.

    .venv/bin/python bench/monitor.py [DOMAINS] [SECONDS]     # 10,000 and 120 by default

Needs Knot (`knotd`). The domains are in mode cname, their records have a TTL of an hour;
their looks are spread over the hour, and those that come due have been looked at a day
before, as in a relay that has run for longer. Says how many looks were made, and the share
of a core that the process took.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matrix
from sqlalchemy import Connection, Engine, bindparam, func, select, update

from soboo_mta.daemon.domains.keeping import keep_look
from soboo_mta.daemon.domains.looking import domain_check
from soboo_mta.formats.keys import generate_rsa
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.zones.zone_text import zone_file
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.net.clock import SystemClock
from soboo_mta.onboarding.watch.monitor import Observation
from soboo_mta.settings import Settings
from soboo_mta.settings.load import load
from soboo_mta.settings.options import timers
from soboo_mta.store import schema
from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import upgrade
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import Tenant, add_tenant
from soboo_mta.tenancy.domains import NewDomain, list_domains
from soboo_mta.tenancy.signing.keys import add_domain

_PORT = 26193
_HOUR = 3_600
_CUSTOMERS = Domain("customers.example")
_SETTINGS = """\
[server]
data_directory = "{home}/data"
workers = 1

[secrets]
master_key_file = "{home}/data/master.key"

[operator]
domain = "esp.example"
mx_hosts = ["mx.esp.example"]

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"

[[sources]]
name = "default"
public_address = "192.0.2.1"
ehlo_name = "mta1.esp.example"

[dns]
resolvers = ["127.0.0.1:{dns}"]
authoritative_port = {dns}

[onboarding]
shortest = "1h"  # as for domains that have long been as they are
"""
_SERVER = """\
server:
  listen: 127.0.0.1@{dns}
  rundir: {home}
database:
  storage: {home}
log:
  - target: stderr
    any: error
template:
  - id: default
    storage: {home}
    file: "%s.zone"
zone:
  - domain: esp.example
  - domain: customers.example
"""


def main() -> None:
    domains = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 120
    with matrix.place() as home:
        settings = _prepare(home, domains)
        engine = open_engine(settings.store_url)
        with _name_server(home):
            asyncio.run(_settle(settings, engine, int(domains * seconds / _HOUR) + 1))
            _spread(engine, domains)
            with matrix.relay(home) as relay:
                watcher = [
                    matrix.processes(relay)[-1]
                ]  # the control process starts last
                before, began = matrix.cpu_seconds(watcher), time.time()
                time.sleep(seconds)
                spent = matrix.cpu_seconds(watcher) - before
                memory = matrix.memory_mb(watcher)
        looked = read_now(engine, lambda at: _looked(at, began))
        print(
            f"{domains} domains: {looked} looks in {seconds:.0f} s"
            f" ({looked / seconds:.1f}/s), {100 * spent / seconds:.1f} % of a core,"
            f" {1_000 * spent / max(1, looked):.1f} ms a look, {memory:.0f} MB"
        )


def _prepare(home: Path, count: int) -> Settings:
    text = _SETTINGS.format(home=home, port=matrix.PORT, dns=_PORT)
    (home / "soboo.toml").write_text(text)
    matrix.command(home, "secret", "generate")
    settings = load(home / "soboo.toml")
    engine = open_engine(settings.store_url)
    upgrade(engine)
    pairs = [generate_rsa(), generate_rsa()]  # the same for all: making them takes long
    master, now = settings.master_key(), int(time.time() * 1_000)

    def fill(at: Connection) -> None:
        tenant = TenantId("bench")
        add_tenant(
            at,
            Tenant(
                tenant_id=tenant,
                name="bench",
                suspended=False,
                weight=1,
                hourly_quota=None,
                daily_quota=None,
            ),
            now=now,
        )
        for number in range(count):
            new = NewDomain(tenant=tenant, name=Domain(f"d{number}.{_CUSTOMERS}"))
            add_domain(at, master, new, pairs, now=now)

    write_now(engine, fill)
    found = [one.settings for one in read_now(engine, list_domains)]
    operator = settings.identity()
    zones = {
        operator.domain: operator_records(operator, found),
        _CUSTOMERS: [
            record for one in found for record in required_records(one, operator)
        ],
    }
    for origin, records in zones.items():
        server = DnsName(f"ns.{origin}")
        text = zone_file(
            records,
            origin=origin,
            name_servers=[server],
            host_master=DnsName(f"h.{origin}"),
            serial=1,
            ttl=_HOUR,
            extra=[f"{server}. IN A 127.0.0.1"],
        )
        (home / f"{origin}.zone").write_text(text)
    engine.dispose()
    return settings


class _Yesterday(SystemClock):
    """A day ago."""

    def unix_ms(self) -> int:
        return super().unix_ms() - 24 * _HOUR * 1_000


async def _settle(settings: Settings, engine: Engine, count: int) -> None:
    """Look at the domains that come due first, as of a day ago."""
    clock = _Yesterday()
    check = domain_check(settings, settings.identity(), clock)
    for view in read_now(engine, list_domains)[:count]:
        result = await check.check(view.settings, None, ())
        seen = Observation(
            domain_id=view.settings.domain_id, before=(), result=result, changes=("",)
        )
        write_now(
            engine,
            lambda at, seen=seen: keep_look(
                at, seen, timers=timers(settings), now=clock.unix_ms(), actor="bench"
            ),
        )


def _spread(engine: Engine, count: int) -> None:
    """Let the looks be due evenly within the hour, in the order of names."""
    now = int(time.time() * 1_000)
    ids = [view.settings.domain_id for view in read_now(engine, list_domains)]
    column = schema.sending_domain.c
    rows = [
        {"which": one, "due": now + int(place * _HOUR * 1_000 / count)}
        for place, one in enumerate(ids)
    ]
    change = update(schema.sending_domain).where(column.id == bindparam("which"))
    write_now(
        engine,
        lambda at: at.execute(change.values(next_check_at=bindparam("due")), rows),
    )


@contextmanager
def _name_server(home: Path) -> Iterator[None]:
    (home / "knot.conf").write_text(_SERVER.format(home=home, dns=_PORT))
    with subprocess.Popen(["knotd", "-c", str(home / "knot.conf")]) as server:
        time.sleep(2)  # it reads its zones
        yield
        server.terminate()


def _looked(at: Connection, began: float) -> int:
    column = schema.sending_domain.c
    query = select(func.count()).where(column.facts_at >= int(began * 1_000))
    return int(at.scalar(query) or 0)


if __name__ == "__main__":
    main()
