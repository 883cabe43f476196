"""How mail leaves, is tried again, refused, and reported on."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import TlsPolicy
from soboo_mta.settings.sections.base import Section
from soboo_mta.settings.values import (
    AddressField,
    Count,
    DnsNameField,
    Duration,
    LabelField,
    Octets,
    PatternField,
    Port,
    RateField,
    Wait,
    parse_duration,
    parse_octets,
)
from soboo_mta.transfer.routing.rules import NextHop

MAX_RETURNED = 128 * 1024  # octets: a report is kept in one row
MX = "mx"  # as a next hop: by the domain's MX records
MAX_HOPS = 16  # hops of one route; each costs a look-up and a connection


class Delivery(Section):
    """[delivery]: how mail reaches its next hop."""

    port: Port = 25
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    private_destinations: bool = False
    test_sinks: tuple[AddressField, ...] = ()
    connections_per_site: Count = 20
    first_connections: Count = 5
    rate_per_site: RateField | None = None
    connection_idle: Wait = parse_duration("5s")
    connection_life: Wait = parse_duration("5m")
    transactions_per_connection: Count = 500
    host_rest: Wait = parse_duration("1m")
    connect_timeout: Wait = parse_duration("30s")
    banner_timeout: Wait = parse_duration("5m")
    command_timeout: Wait = parse_duration("5m")
    data_start_timeout: Wait = parse_duration("2m")
    data_block_timeout: Wait = parse_duration("3m")
    data_done_timeout: Wait = parse_duration("10m")
    shortest_ttl: Duration = parse_duration("5s")
    longest_ttl: Wait = parse_duration("1h")
    cached_domains: Count = 50_000
    recipients_in_memory: Count = 10_000
    content_in_memory: Octets = parse_octets("256MiB")
    site_rest: Wait = parse_duration("1m")
    blocked_rest: Wait = parse_duration("10m")
    content_rest: Wait = parse_duration("10m")
    source_rest: Wait = parse_duration("1m")


class GroupSection(Section):
    """[[groups]]: providers, all of whose sites share limits."""

    name: LabelField
    mx: Annotated[tuple[DnsNameField, ...], Field(min_length=1)]
    connections: Count | None = None
    rate: RateField | None = None


class RouteSection(Section):
    """[[routes]]: where mail for a domain goes instead of to its MX hosts."""

    domain: PatternField
    next_hop: tuple[str, ...]
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC

    @field_validator("next_hop", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _hops_are_readable(self) -> Self:
        if not 0 < len(self.next_hop) <= MAX_HOPS:
            raise ValueError(f"a route has 1 to {MAX_HOPS} next hops")
        if MX in self.next_hop and len(self.next_hop) > 1:
            raise ValueError('"mx" stands alone: it is not one hop among others')
        try:
            _ = self.hops
        except FormatError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def is_mx(self) -> bool:
        return self.next_hop == (MX,)

    @property
    def hops(self) -> tuple[NextHop, ...]:
        """The configured hops; none where the route is by MX."""
        if self.is_mx:
            return ()
        return tuple(NextHop.parse(text) for text in self.next_hop)


class Retry(Section):
    """[retry]: when deferred mail is tried again, and for how long."""

    steps: Annotated[tuple[Wait, ...], Field(min_length=1)] = tuple(
        map(parse_duration, ("5m", "15m", "30m", "1h", "2h", "4h"))
    )
    greylisted: Wait = parse_duration("5m")
    blocked: Wait = parse_duration("30m")
    lifetime: Wait = parse_duration("5d")
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2


class Classification(Section):
    """[classification]: how it is told why receivers refuse mail."""

    rules: Path | None = None


class Suppression(Section):
    """[suppression]: what suppresses addresses by itself, and how lists are read."""

    ignore_case: bool = True
    soft_limit: Annotated[int, Field(ge=0, le=100)] = 5
    soft_within: Annotated[Wait, Field(ge=parse_duration("1d"))] = parse_duration("14d")
    soft_expires: Wait = parse_duration("30d")
    invalid_expires: Wait | None = None
    keep_history: Wait = parse_duration("730d")


class Reports(Section):
    """[reports]: what senders are told of their mail (delivery status notifications)."""

    send: bool = True
    max_returned: Annotated[Octets, Field(le=MAX_RETURNED)] = parse_octets("50KiB")
    warn_of_delay: bool = False
    delay_after: Wait = parse_duration("4h")
