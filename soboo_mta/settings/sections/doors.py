"""Where mail and returns come in, and the bounds on who brings them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
)

from soboo_mta.settings.sections.base import Section
from soboo_mta.settings.values import (
    AddressField,
    Count,
    DomainField,
    Duration,
    MailboxField,
    NetworkField,
    Octets,
    Port,
    RateField,
    Wait,
    parse_duration,
    parse_octets,
    parse_rate,
    parse_site,
)

MIN_RECIPIENTS = 100  # RFC 5321 §4.5.3.1.8


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


class ReturnListener(Section):
    """[[return_listeners]]: one address and port that bounces and reports come to."""

    address: AddressField
    port: Port = 25
    tls: Literal[ListenerTls.NONE, ListenerTls.STARTTLS] = ListenerTls.STARTTLS
    proxies: tuple[NetworkField, ...] = ()


Percent = Annotated[float, Field(ge=0, le=100)]


class Complaints(Section):
    """[complaints]: the fields by which complaints find home, and what many lead to."""

    sender_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{4,14}$")] = ""
    address: MailboxField | None = None
    days: Annotated[int, Field(ge=1, le=30)] = 7
    least: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    warn_percent: Percent = 0.1
    slow_percent: Percent = 0.2
    hold_percent: Percent = 0.3
    slow_to: RateField = parse_rate("60/m")


class Returns(Section):
    """[returns]: what comes back, and the bounds on who brings it."""

    feedback: tuple[MailboxField, ...] = ()
    reporters: tuple[DomainField, ...] = ()
    desk: MailboxField | None = None
    forwards_per_recipient: Annotated[int, Field(ge=1, le=1_000)] = 10
    forwards_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    max_forwarded: Octets = parse_octets("10MiB")
    max_message_size: Octets = parse_octets("50MiB")
    max_connections: Count = 500
    max_connections_per_address: Count = 50
    connections_per_minute_per_address: Count | None = None
    messages_per_minute_per_address: Count | None = None
    max_buffered_size: Octets = parse_octets("256MiB")
    readers: Annotated[int, Field(ge=1, le=16)] = 1
    reader_timeout: Wait = parse_duration("20s")
    reader_processor: Annotated[Wait, Field(ge=parse_duration("1s"))] = parse_duration(
        "10s"
    )
    reader_memory: Annotated[Octets, Field(ge=parse_octets("256MiB"))] = parse_octets(
        "768MiB"
    )
