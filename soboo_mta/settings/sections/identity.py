"""Who we are: the operator's domain, the sources, DNS, keys, customers' records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from soboo_mta.identity.state import WebHost
from soboo_mta.identity.zones.mta_sts import StsMode
from soboo_mta.mail.domain import Domain
from soboo_mta.settings.sections.base import Section
from soboo_mta.settings.values import (
    AddressField,
    Count,
    DnsNameField,
    DomainField,
    EndpointField,
    LabelField,
    MailboxField,
    Port,
    TlsReportsField,
    Wait,
    WebHostField,
    parse_duration,
    parse_endpoint,
)


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
