"""The sections of the settings file: one model each, its keys and defaults.

What a key means, its unit and an example stand in `config/soboo.toml`; a test keeps
that file and these models equal.
"""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from soboo_mta.identity.state import WebHost
from soboo_mta.identity.zones.mta_sts import StsMode
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import TlsPolicy
from soboo_mta.settings.values import (
    AddressField,
    Count,
    DnsNameField,
    DomainField,
    Duration,
    EndpointField,
    LabelField,
    MailboxField,
    NetworkField,
    Octets,
    PatternField,
    Port,
    RateField,
    TlsReportsField,
    Wait,
    WebHostField,
    parse_duration,
    parse_endpoint,
    parse_octets,
    parse_site,
)
from soboo_mta.transfer.routing.rules import NextHop

MAX_WORKERS = 128  # of one host; more are a mistake
MIN_RECIPIENTS = 100  # RFC 5321 §4.5.3.1.8
MAX_RETURNED = 128 * 1024  # octets: a report is kept in one row
MX = "mx"  # as a next hop: by the domain's MX records
MAX_HOPS = 16  # hops of one route; each costs a look-up and a connection


class Section(BaseModel):
    """A table of the file: its keys are known and its values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class Server(Section):
    """[server]: this installation."""

    data_directory: Path = Path("/var/lib/soboo-mta")
    workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)] | Literal["auto"] = "auto"
    host_name: DomainField | None = None
    stop_within: Wait = parse_duration("30s")


class Store(Section):
    """[store]: where mail, tenants and events are kept."""

    url: str = ""
    queued_units: Count = 2_000
    readers: Annotated[int, Field(ge=1, le=8)] = 2
    cached_entries: Count = 20_000
    min_free: Annotated[int, BeforeValidator(parse_octets), Field(ge=0)] = parse_octets(
        "100MiB"
    )


class Secrets(Section):
    """[secrets]: where the master key comes from: exactly one of the two."""

    master_key_file: Path | None = None
    master_key_env: str | None = None
    verp_key_version: Annotated[int, Field(ge=0, le=31)] = 0


class ListenerTls(StrEnum):
    """How a listener speaks TLS."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Listener(Section):
    """[[listeners]]: one address and port that takes submissions."""

    address: AddressField
    port: Port
    tls: ListenerTls = ListenerTls.STARTTLS
    chunking: bool = True
    client_ca_file: Path | None = None
    proxies: tuple[NetworkField, ...] = ()


class Tls(Section):
    """[tls]: the certificate that the listeners show."""

    certificate_file: Path | None = None
    private_key_file: Path | None = None


class Submission(Section):
    """[submission]: who may submit without AUTH, and the bounds on clients."""

    trusted_networks: tuple[NetworkField, ...] = ()
    max_message_size: Octets = parse_octets("25MiB")
    max_recipients: Annotated[int, Field(ge=MIN_RECIPIENTS)] = 1_000
    max_hops: Count = 50
    longest_hold: Duration = parse_duration("30d")
    mend_line_ends: bool = False
    thread_over_size: Octets = parse_octets("1MiB")
    max_connections: Count = 1_000
    max_connections_per_address: Count = 100
    max_connections_per_credential: Count = 100
    connections_per_minute_per_address: Count | None = None
    messages_per_minute_per_address: Count | None = None
    messages_per_minute_per_credential: Count | None = None
    recipients_per_minute_per_address: Count | None = None
    recipients_per_minute_per_credential: Count | None = None
    max_errors: Count = 10
    max_idle_commands: Count = 100
    max_failed_logins: Count = 3
    max_failed_logins_per_address: Count = 20
    max_failed_logins_per_user: Count = 50
    failed_login_window: Wait = parse_duration("10m")
    failed_login_delay: Duration = parse_duration("1s")
    clear_login_on_loopback: bool = True
    handshake_timeout: Wait = parse_duration("30s")
    login_timeout: Wait = parse_duration("2m")
    command_timeout: Wait = parse_duration("5m")
    data_block_timeout: Wait = parse_duration("3m")
    data_grace: Wait = parse_duration("1m")
    min_data_rate: Count = 500
    max_buffered_size: Octets = parse_octets("512MiB")


class HttpListener(Section):
    """[[http_listeners]]: one address and port that takes mail over HTTP."""

    address: AddressField
    port: Port
    tls: bool = True


class Http(Section):
    """[http]: the bounds of requests, beside those of [submission]."""

    max_body_size: Octets = parse_octets("50MiB")
    max_batch: Count = 100
    head_timeout: Wait = parse_duration("15s")
    idle_timeout: Wait = parse_duration("15s")
    public_url: Annotated[str, BeforeValidator(parse_site)] | None = None


class Monitoring(Section):
    """[monitoring]: where metrics and health are told, and how much."""

    address: AddressField = ip_address("127.0.0.1")
    port: Port | None = None
    tenants: Count = 50
    next_hops: Count = 50


class OperatorSection(Section):
    """[operator]: the operator's own domain, whose names customers' CNAMEs lead to."""

    domain: DomainField
    bounce_label: LabelField = "bounce"
    mx_hosts: tuple[DomainField, ...] = ()
    dmarc_reports: MailboxField | None = None
    link_hosts: tuple[WebHostField, ...] = ()
    image_hosts: tuple[WebHostField, ...] = ()

    @field_validator("link_hosts", "image_hosts")
    @classmethod
    def _one_name_or_addresses(cls, hosts: tuple[WebHost, ...]) -> tuple[WebHost, ...]:
        """A CNAME stands alone at its name (RFC 1034 §3.6.2)."""
        if len(hosts) > 1 and any(isinstance(host, str) for host in hosts):
            raise ValueError("write addresses, or one name alone")
        return hosts

    @model_validator(mode="after")
    def _reports_come_to_us(self) -> Self:
        """The reports of others are authorised below our own domain alone."""
        reports = self.dmarc_reports
        if reports is not None and reports.domain != self.domain:
            raise ValueError(f"dmarc_reports is an address at {self.domain}")
        return self

    @property
    def bounce_domain(self) -> Domain:
        return Domain.parse(f"{self.bounce_label}.{self.domain}")

    @property
    def hosts(self) -> tuple[Domain, ...]:
        """The MX hosts of all bounce hosts; `mx.` below the domain where none is named."""
        return self.mx_hosts or (Domain.parse(f"mx.{self.domain}"),)


class SourceSection(Section):
    """[[sources]]: an address that mail leaves from."""

    name: LabelField
    public_address: AddressField
    ehlo_name: DomainField
    address: AddressField | None = None


class PoolSection(Section):
    """[[pools]]: sources that share a part of the mail."""

    name: LabelField
    sources: Annotated[tuple[LabelField, ...], Field(min_length=1)]
    weights: tuple[Annotated[int, Field(ge=1, le=1_000)], ...] = ()
    domains: tuple[DomainField, ...] = ()

    @property
    def weighted(self) -> Iterator[tuple[str, int]]:
        """Each source's name with its weight."""
        return zip(self.sources, self.weights or (1,) * len(self.sources), strict=True)


class Dns(Section):
    """[dns]: who is asked, and how long."""

    resolvers: Annotated[tuple[EndpointField, ...], Field(min_length=1)] = (
        parse_endpoint("127.0.0.1:53"),
    )
    authoritative_port: Port = 53
    timeout: Wait = parse_duration("2s")
    lifetime: Wait = parse_duration("8s")
    cache_entries: Count = 20_000
    max_ttl: Wait = parse_duration("1h")
    unanswered_ttl: Annotated[Wait, Field(le=parse_duration("30s"))] = parse_duration(
        "10s"
    )


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


class Suppression(Section):
    """[suppression]: how tenants' suppression lists are read."""

    ignore_case: bool = True


class Reports(Section):
    """[reports]: what senders are told of their mail (delivery status notifications)."""

    send: bool = True
    max_returned: Annotated[Octets, Field(le=MAX_RETURNED)] = parse_octets("50KiB")
    warn_of_delay: bool = False
    delay_after: Wait = parse_duration("4h")


class Signing(Section):
    """[signing]: how long what identifies a message stays good."""

    signature_life: Annotated[Wait, Field(ge=parse_duration("1h"))] = parse_duration(
        "7d"
    )
    return_life: Wait = parse_duration("30d")
    rotate_days: Annotated[int, Field(ge=0, le=3650)] = 90
    look_every: Wait = parse_duration("5m")


class Onboarding(Section):
    """[onboarding]: how often the customers' DNS records are looked at."""

    shortest: Wait = parse_duration("30s")
    longest: Wait = parse_duration("1h")
    while_broken: Wait = parse_duration("30s")
    while_stalled: Wait = parse_duration("6h")
    pending: Wait = parse_duration("3d")
    grace: Wait = parse_duration("3d")
    at_once: Count = 20
    last_known_good: Annotated[Wait, Field(le=parse_duration("3d"))] = parse_duration(
        "3d"
    )


class Publish(Section):
    """[publish]: the name server on which delegated zones are kept, and our own."""

    server: EndpointField | None = None
    key_name: DnsNameField | None = None
    key_file: Path | None = None
    create: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    directory: Path | None = None
    reload: tuple[str, ...] = ()
    name_servers: tuple[AddressField, ...] = ()
    certificate_issuers: tuple[DnsNameField, ...] = ()
    tls_reports: TlsReportsField | None = None
    mta_sts_hosts: tuple[AddressField, ...] = ()
    mta_sts_mode: StsMode = StsMode.TESTING


class Retention(Section):
    """[retention]: how long what was settled is kept."""

    keep: Wait = parse_duration("30d")


class Trace(Section):
    """[trace]: what is kept of what was said to next hops."""

    dialogue_size: Annotated[int, BeforeValidator(parse_octets), Field(ge=0)] = (
        parse_octets("4KiB")
    )
    tenants: tuple[str, ...] = ()
    destinations: tuple[DomainField, ...] = ()


class LogLevel(StrEnum):
    """The least important record that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(Section):
    """[log]: what is written to standard error, one JSON object a line."""

    level: LogLevel = LogLevel.INFO
