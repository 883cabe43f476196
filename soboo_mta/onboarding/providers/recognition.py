"""Tells from the name servers of a zone whose DNS host serves it.

Looks are for a hint alone: where there is no answer there is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.providers.provider import DnsProvider
from soboo_mta.onboarding.providers.table import PROVIDERS
from soboo_mta.ports import Found, RecordType, Resolver, Unanswered

NOBODY: Final = "none"
"""What is typed for a DNS host that is not known, or to have no hint."""


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone that a name is in, and its name servers."""

    apex: Domain
    servers: tuple[DnsName, ...]


async def zone_of(name: Domain, resolver: Resolver) -> Zone | Unanswered:
    """Return the zone that holds `name`: the closest name at or above it with NS records
    (RFC 1034 §4.2.1)."""
    asked = name.labels
    while len(asked) > 1:
        apex = Domain(".".join(asked))
        answer = await resolver.lookup(apex, RecordType.NS)
        if isinstance(answer, Unanswered):
            return answer
        if isinstance(answer, Found) and not answer.chain:
            servers = (DnsName(one) for one in answer.records if isinstance(one, str))
            return Zone(apex, tuple(servers))
        asked = asked[1:]
    return Unanswered(cause=f"NS {name}: no zone holds it")


def recognised(servers: Iterable[DnsName]) -> DnsProvider | None:
    """Return whose name servers these are; None where they are nobody's that is known, or
    several companies': what is true of one form may be wrong for the other."""
    owners = [_owner(server) for server in servers]
    if not owners or any(one is not owners[0] for one in owners):
        return None
    return owners[0]


def provider_named(text: str) -> DnsProvider | None:
    """Return the DNS host with the key `text`, None for `none`; raise FormatError."""
    for provider in PROVIDERS:
        if provider.key == text.lower():
            return provider
    if text.lower() == NOBODY:
        return None
    keys = ", ".join(provider.key for provider in PROVIDERS)
    raise FormatError(
        f"there is no DNS host {text[:40]!r} in the table: say one of {keys}, or {NOBODY}"
    )


def _owner(server: DnsName) -> DnsProvider | None:
    for provider in PROVIDERS:
        if any(fnmatchcase(server, pattern) for pattern in provider.servers):
            return provider
    return None
