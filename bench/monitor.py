"""What it costs to watch many domains: one process, a name server, all records right.

    .venv/bin/python bench/monitor.py [DOMAINS] [SECONDS]     # 10,000 and 120 by default

Needs Knot (`knotd`). The domains are in mode cname, their records have a TTL of an hour;
their looks are spread over the hour as in a relay that has run for longer. Says how many
looks were due and made, and the share of a core that the process took.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matrix
from sqlalchemy import Connection, func, select, update

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.zones.zone_text import zone_file
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.settings import Settings
from soboo_mta.settings.load import load
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
        with _name_server(home), matrix.relay(home) as relay:
            watcher = [matrix.processes(relay)[-1]]  # the control process starts last
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
        # As if all had been looked at within the last hour, evenly.
        column = schema.sending_domain.c
        at.execute(
            update(schema.sending_domain).values(
                next_check_at=now + column.id * (_HOUR * 1_000) / count
            )
        )

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
