"""A world in which mail can be sent: one tenant, one verified domain, three sinks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from soboo_mta.cli.trial.world import World, free_ports, world

USER = "acme-app"
DOMAIN = "acme.example"
SINKS = {"alpha.test": "127.0.0.2", "beta.test": "127.0.0.3", "gamma.test": "127.0.0.4"}
GREYLISTING = """\
[[rule]]
domain = "gamma.test"
action = "greylist"
seconds = 0.5
"""
_TENANTS = f"""\
[[tenant]]
id = "acme"
name = "Acme Ltd"
credential = [{{ user_name = "{USER}" }}]
domain = [{{ name = "{DOMAIN}" }}]
"""


@asynccontextmanager
async def ready_world(
    directory: Path,
    *,
    workers: int = 0,
    extra: str = "",
    before: Callable[[World], None] = lambda place: None,
) -> AsyncIterator[World]:
    """Everything up to the start of the relay is done; gamma.test greylists.

    `before` is called before the first command, on an empty data directory.
    """
    (port,) = free_ports(1)
    async with world(
        directory,
        port=port,
        sinks=tuple(SINKS.values()),
        rules=GREYLISTING,
        workers=workers,
        extra=extra,
    ) as place:
        before(place)
        for domain, address in SINKS.items():
            place.zones.write_destination(domain, address)
        await place.command("secret", "generate")
        await place.apply(_TENANTS)
        await asyncio.gather(place.publish_operator(), place.publish(DOMAIN))
        await place.command("domain", "verify", DOMAIN)
        yield place


def store_url(place: World) -> str:
    """The URL of the embedded store, where the settings name no other."""
    return f"sqlite:///{place.directory / 'data' / 'soboo.db'}"
