"""What we ship to run the relay by, read by the programs it is for: systemd, Knot, Caddy."""

import asyncio
import re
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

from soboo_mta.cli.trial.world import free_ports
from tests.interop.running import run, running

HOUSE = Path(__file__).parents[2]
COMPOSE = HOUSE / "config" / "compose"
_HOST = "mta1.esp.example"


async def test_systemd_takes_the_unit_and_finds_it_well_confined(
    tmp_path: Path,
) -> None:
    text = (HOUSE / "config/systemd/soboo-mta.service").read_text()
    ours = Path(sys.executable).parent / "soboo-mta"
    unit = tmp_path / "soboo-mta.service"
    unit.write_text(text.replace("/opt/soboo-mta/bin/soboo-mta", str(ours)))
    verified = await run("systemd-analyze", "verify", "--man=no", unit)
    assert (verified.code, verified.text) == (0, "")
    judged = await run("systemd-analyze", "security", "--offline=true", unit)
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", judged.text)
    assert float(exposure) < 2.0, judged.text


async def test_knot_serves_the_operators_zone_with_what_the_relay_wants(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    zones = tmp_path / "zones"
    zones.mkdir()
    for file in (COMPOSE / "zones").iterdir():
        (zones / file.name).write_text(file.read_text())
    # What `domain records --operator` would print for one customer.
    wanted = "token.b.esp.example. 300 IN MX 10 mta1.esp.example.\n"
    (zones / "soboo.zone").write_text(wanted)
    config = tmp_path / "knot.conf"
    text = (COMPOSE / "knot.conf").read_text()
    for there, here in (
        ('"0.0.0.0@53", "::@53"', f'"127.0.0.1@{port}"'),
        ("/rundir", str(tmp_path)),
        ("/storage", str(tmp_path / "storage")),
        ("/zones", str(zones)),
    ):
        assert there in text
        text = text.replace(there, here)
    config.write_text(text)
    checked = await run("knotc", "--config", config, "conf-check")
    assert checked.code == 0, checked.text
    async with running("knotd", "--config", config, log=tmp_path / "knot.log"):
        answers = await _asked_until_answered("token.b.esp.example", "MX", port)
    assert answers == ["10 mta1.esp.example."]


async def _asked_until_answered(name: str, kind: str, port: int) -> list[str]:
    query = dns.message.make_query(name, kind)
    async with asyncio.timeout(20):
        while True:
            try:
                reply = await dns.asyncquery.udp(
                    query, "127.0.0.1", port=port, timeout=1
                )
            except (dns.exception.Timeout, OSError):
                await asyncio.sleep(0.1)
                continue
            if reply.answer:
                return [str(record) for record in reply.answer[0]]
            await asyncio.sleep(0.1)


async def test_caddy_makes_the_certificate_where_the_relay_reads_it(
    tmp_path: Path,
) -> None:
    clear, secure, admin = free_ports(3)
    text = (COMPOSE / "Caddyfile").read_text()
    assert "/data/caddy" in text
    text = text.replace("/data/caddy", str(tmp_path / "data"))
    ports = f"\n\thttp_port {clear}\n\thttps_port {secure}\n\tadmin 127.0.0.1:{admin}"
    text = text.replace("{\n", f"{{{ports}\n\tskip_install_trust\n", 1)
    config = tmp_path / "Caddyfile"
    config.write_text(text)
    command = (
        *("env", f"RELAY_HOST={_HOST}", "CERTIFICATES_BY=internal", f"HOME={tmp_path}"),
        *("caddy", "run", "--config", config),
    )
    folder = tmp_path / "data" / "certificates" / "local" / _HOST
    certificate, key = folder / f"{_HOST}.crt", folder / f"{_HOST}.key"
    async with running(*command, log=tmp_path / "caddy.log"):
        await _until(lambda: certificate.exists() and key.exists())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.1)
