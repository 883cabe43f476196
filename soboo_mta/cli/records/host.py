"""Whose DNS host serves a customer's zone, for the hints in what a command shows."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from soboo_mta.cli.context import CliStore
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import DomainSettings, Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.providers.provider import DnsProvider
from soboo_mta.onboarding.providers.recognition import (
    Zone,
    provider_named,
    recognised,
    zone_of,
)
from soboo_mta.settings.options import resolver_options

_PATIENCE: Final = 3.0  # seconds: a hint is worth no longer wait
DnsProviderOption = Annotated[
    str | None,
    typer.Option(
        "--dns-provider",
        help="Hints for this DNS host, else found by its name servers; none: no hints.",
    ),
]


@dataclass(frozen=True, slots=True)
class DnsHost:
    """The zone in which a domain's records stand, and who serves it."""

    zone: Domain
    provider: DnsProvider


def dns_host(
    store: CliStore, settings: DomainSettings, typed: str | None
) -> DnsHost | None:
    """Return the DNS host of a domain: what was typed, else what its name servers say.

    None where that is nobody known, or DNS gives no answer soon, or the whole domain is
    delegated: that is done at its registrar. Raises FormatError for a key that the table
    has not.
    """
    name = settings.name
    provider = None if typed is None else provider_named(typed)
    registered = SuffixList().organizational_domain(name)
    if settings.mode is Mode.ZONE and settings.home == registered:
        return None
    if typed is not None:
        return None if provider is None else DnsHost(registered, provider)
    found = asyncio.run(_zone(store, name))
    provider = None if found is None else recognised(found.servers)
    return None if found is None or provider is None else DnsHost(found.apex, provider)


async def _zone(store: CliStore, name: Domain) -> Zone | None:
    options = resolver_options(store.settings)
    resolver = DnsResolver(options=options, clock=store.clock)
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await zone_of(name, resolver)
    except TimeoutError:
        return None
    return found if isinstance(found, Zone) else None
