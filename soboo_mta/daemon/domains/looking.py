"""Who looks at a domain's records, put together from the settings."""

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Operator
from soboo_mta.net.dns.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.dns.resolver import DnsResolver, each_resolver
from soboo_mta.net.web_door import HttpDoor
from soboo_mta.onboarding.check import DomainCheck
from soboo_mta.onboarding.doors import Doors
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings
from soboo_mta.settings.options import (
    authoritative_options,
    check_options,
    resolver_options,
)


def zone_servers(
    settings: Settings, clock: Clock
) -> tuple[AuthoritativeResolver, DnsAuthority]:
    """Return who asks zones' own servers, and the zones above them."""
    recursive = DnsResolver(options=resolver_options(settings), clock=clock)
    resolver = AuthoritativeResolver(
        recursive=recursive, options=authoritative_options(settings)
    )
    return resolver, DnsAuthority(
        recursive=recursive, options=resolver_options(settings)
    )


def domain_check(settings: Settings, operator: Operator, clock: Clock) -> DomainCheck:
    """Return who looks at domains, at their zones' own servers."""
    resolver, authority = zone_servers(settings, clock)
    return DomainCheck(
        resolver=resolver,
        operator=operator,
        suffixes=SuffixList(),
        clock=clock,
        options=check_options(settings),
        authority=authority,
        resolvers=each_resolver(resolver_options(settings), clock),
        doors=doors(settings, clock),
    )


def doors(settings: Settings, clock: Clock) -> Doors:
    """Return who knocks at the hosts for links and images."""
    recursive = DnsResolver(options=resolver_options(settings), clock=clock)
    return Doors(door=HttpDoor(resolver=recursive), clock=clock)
