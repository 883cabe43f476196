"""A world in which mail can be sent: one tenant, one verified domain, three sinks."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from soboo_mta.cli.trial.settings import OPERATOR
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
TENANTS = f"""\
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
    environment: Mapping[str, str] | None = None,
    sink_tls: ssl.SSLContext | None = None,
    judging_late: bool = False,
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
        environment=environment,
        sink_tls=sink_tls,
        judging_late=judging_late,
    ) as place:
        before(place)
        for domain, address in SINKS.items():
            place.zones.write_destination(domain, address)
        await _move_in(place, is_embedded="[store]" not in extra)
        yield place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What the commands of the set-up left: octets by path under the world's directory."""

    files: Mapping[Path, bytes]
    secrets: Mapping[str, str]


_kept: list[_Prepared] = []  # made once a process: five commands take five seconds


async def _move_in(place: World, *, is_embedded: bool) -> None:
    """Set up by command, or put back what an earlier set-up with its own store left."""
    data = place.directory / "data"
    if is_embedded and _kept and not any(data.iterdir()):
        for path, octets in _kept[0].files.items():
            fresh = place.directory / f"{path}.new"
            fresh.write_bytes(octets)
            fresh.chmod(0o600)
            fresh.replace(place.directory / path)
        place.secrets |= _kept[0].secrets
        return
    await place.command("secret", "generate")
    await place.apply(TENANTS)
    await asyncio.gather(place.publish_operator(), place.publish(DOMAIN))
    await place.command("domain", "verify", DOMAIN)
    if is_embedded and not _kept:
        zones = [place.zones.directory / f"{one}.zone" for one in (OPERATOR, DOMAIN)]
        files = [*zones, *(data / name for name in ("master.key", "soboo.db"))]
        _kept.append(
            _Prepared(
                files={
                    one.relative_to(place.directory): one.read_bytes() for one in files
                },
                secrets=dict(place.secrets),
            )
        )


def store_url(place: World) -> str:
    """The URL of the embedded store, where the settings name no other."""
    return f"sqlite:///{place.directory / 'data' / 'soboo.db'}"
