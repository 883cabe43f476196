"""An internet of real programs for one story: a registry, a resolver, a relay, a receiver.

The registry (Knot, signed) delegates to the operator and to the customer, whose servers
the story chooses; Unbound follows and validates. The relay runs as a process of its own
and asks Unbound alone. All listen on loopback addresses `net`.N: .1 the registry, .2 the
customer's server, .3 and .4 the operator's, .9 Unbound, .20 the relay's source, .30 the
sink. The suffix is a real one: Mail::DMARC has no organization under others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from soboo_mta.cli.trial.world import World, free_ports
from soboo_mta.cli.trial.zones import Zones
from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.sinks.options import SinkOptions
from tests.interop.name_servers import SECRET, ZoneFile, ask, knot, zone_file
from tests.interop.onboarding import OPERATOR, USER, Internet
from tests.interop.receivers import Resolver
from tests.interop.running import running

_TENANTS = f"""\
[[tenant]]
id = "acme"
name = "Acme Ltd"
credential = [{{ user_name = "{USER}" }}]
"""
_RELAY = """\
[server]
data_directory = "{home}/data"
workers = 0

[secrets]
master_key_file = "{home}/data/master.key"

[operator]
domain = "esp.com"
mx_hosts = ["mx.esp.com"]

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"

[[sources]]
name = "default"
address = "{net}.20"
public_address = "{net}.20"
ehlo_name = "mta1.esp.com"

[dns]
resolvers = ["{net}.9:53"]

[delivery]
port = {smtp}
private_destinations = true
shortest_ttl = "1s"

[retry]
steps = ["2s", "4s"]

[onboarding]
shortest = "1s"
while_broken = "1s"

[publish]
name_servers = ["{net}.3", "{net}.4"]
"""
_UNBOUND = """\
server:
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: {net}.9@53
    interface: 127.0.0.1@{port}
    do-ip6: no
    do-not-query-localhost: no
    module-config: "validator iterator"
    cache-max-ttl: 1
    cache-max-negative-ttl: 1
    infra-cache-min-rtt: 50
    trust-anchor: "com. DNSKEY {anchor}"
remote-control:
    control-enable: no
stub-zone:
    name: "com"
    stub-addr: {net}.1
"""


@asynccontextmanager
async def internet(
    directory: Path,
    *,
    net: str,
    publish: str,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Internet]:
    """Run registry, resolver and receiver, and set the relay up with its operator's key
    and one tenant, not yet started. `publish` are lines of [publish]."""
    async with AsyncExitStack() as stack:
        registered = zone_file(directory / "registry", "com", f"{net}.1")
        base = ["sink MX 10 mx.sink", f"mx.sink A {net}.30"]
        registered.write(base)
        registry = await stack.enter_async_context(
            knot([registered], f"{net}.1", signed=True)
        )
        resolver = await _resolver(stack, directory, net)
        options = LabOptions(
            raw=directory / "raw",
            sinks=SinkOptions(addresses=(f"{net}.30",)),
            is_judging=False,  # by DNS of its own, which nobody here asks
        )
        (directory / "zones").mkdir()
        lab = await stack.enter_async_context(Lab(directory, options))
        relay = await _relay(directory, lab, net=net, publish=publish)
        try:
            yield Internet(
                net=net,
                home=directory,
                registry=registry,
                registered=registered,
                resolver=resolver,
                relay=relay,
                delegated=base,
            )
        finally:
            code = await relay.stop_relay()
        assert code == 0, relay.relay_log()[-3000:]


def operator_file(directory: Path, net: str) -> ZoneFile:
    """The operator's own zone as it is before the relay: its hosts alone."""
    zone = zone_file(directory / "operator", OPERATOR, f"{net}.3")
    zone.write([f"mx A {net}.21"])
    return zone


def tsig_settings(directory: Path, net: str) -> str:
    """The lines of [publish] for signed updates of the operator's server."""
    file = directory / "tsig.key"
    file.write_text(f"{SECRET}\n")
    return f'server = "{net}.3:53"\nkey_name = "soboo"\nkey_file = "{file}"\n'


async def _resolver(stack: AsyncExitStack, directory: Path, net: str) -> Resolver:
    (port,) = free_ports(1)
    home = directory / "resolver"
    home.mkdir()
    anchor = await key_of(f"{net}.1", "com")
    config = home / "unbound.conf"
    config.write_text(_UNBOUND.format(home=home, net=net, port=port, anchor=anchor))
    words = ("/usr/sbin/unbound", "-d", "-c", config)
    await stack.enter_async_context(running(*words, log=home / "log"))
    async with asyncio.timeout(15):
        while await ask(f"{net}.9", "com", "SOA") is None:
            await asyncio.sleep(0.02)
    return Resolver(address=f"{net}.9", port=port)


async def key_of(address: str, zone: str) -> str:
    """The key-signing key that a server shows for its zone, as text."""
    async with asyncio.timeout(15):
        while True:
            answer = await ask(address, zone, "DNSKEY")
            for rrset in answer.answer if answer else ():
                for key in rrset:
                    if getattr(key, "flags", 0) == 257:
                        return str(key.to_text())
            await asyncio.sleep(0.05)


async def _relay(directory: Path, lab: Lab, *, net: str, publish: str) -> World:
    (port,) = free_ports(1)
    (directory / "data").mkdir()
    config = directory / "soboo.toml"
    config.write_text(
        _RELAY.format(home=directory, net=net, port=port, smtp=lab.sink_port) + publish
    )
    relay = World(
        directory=directory,
        lab=lab,
        zones=Zones(directory=directory / "zones"),
        config=config,
        port=port,
    )
    await relay.command("secret", "generate")
    await relay.apply(_TENANTS)
    await relay.command("key", "operator")
    return relay
