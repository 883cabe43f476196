"""How values are written in the settings: durations, sizes, networks, hosts, domains.

Each is an annotated type for the section models, so that a section says what it holds
and a wrong value is refused with a sentence that shows the right form.
"""

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainValidator

from soboo_mta.identity.state import WebHost
from soboo_mta.identity.zones.tls_reporting import TlsReportsTo
from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.net.outlets.syslog import SyslogTarget
from soboo_mta.ports import IpAddress
from soboo_mta.transfer.limits.groups import Rate

IpNetwork = IPv4Network | IPv6Network

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION = re.compile(r"(\d{1,9}) ?(ms|s|m|h|d)")
_RATE = re.compile(r"(\d{1,6}) ?/ ?(s|m|h)")
_SIZES: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,12}) ?(KiB|MiB|GiB|)")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SITE = re.compile(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?")
MAX_PORT: Final = 65_535


def parse_duration(value: object) -> timedelta:
    """Return the duration written as `30s`, `5m`, `2h`, `5d` or `250ms`."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{value!r} is not a duration: write it with a unit, as "30s"')
    return int(found[1]) * _UNITS[found[2]]


def parse_rate(value: object) -> Rate:
    """Return the rate written as `10/s`, `600/m` or `5000/h`."""
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        raise ValueError(f'{value!r} is not a rate: write "10/s", "600/m" or "5000/h"')
    return Rate(count=int(found[1]), per=_UNITS[found[2]])


def parse_octets(value: object) -> int:
    """Return the number of octets written as an integer or as `512KiB`, `25MiB`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{value!r} is not a size: write octets, or "25MiB"')
    return int(found[1]) * _SIZES[found[2]]


def parse_site(value: object) -> str:
    """Return `https://host` or `https://host:port`, without a final slash."""
    text = _text(value, "a URL").rstrip("/")
    if not _SITE.fullmatch(text):
        raise ValueError(f'{value!r} is not a site: write "https://mail.esp.example"')
    return text


def parse_domain(value: object) -> Domain:
    """Return the domain in its normal form."""
    return Domain.parse(_text(value, "a domain"))


def parse_address_of_mail(value: object) -> Mailbox:
    """Return the mailbox written as user@domain."""
    return parse_mailbox(_text(value, "an address such as user@domain"))


def parse_dns_name(value: object) -> DnsName:
    """Return a DNS name, one label at least, in its normal form."""
    return DnsName.parse(_text(value, "a DNS name"))


def parse_address(value: object) -> IpAddress:
    """Return the IP address, IPv4 or IPv6 without brackets."""
    try:
        return ip_address(_text(value, "an IP address"))
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IP address") from error


def parse_web_host(value: object) -> WebHost:
    """Return an address, or a DNS name."""
    text = _text(value, "an IP address or a name")
    try:
        return ip_address(text)
    except ValueError:
        return Domain.parse(text)


def parse_network(value: object) -> IpNetwork:
    """Return the network in CIDR form; one address is a network of one."""
    try:
        return ip_network(_text(value, "a network"))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a network: {error}") from error


def parse_endpoint(value: object) -> tuple[IpAddress, int]:
    """Return (address, port) of `address` or `address:port`; the port of DNS is 53."""
    text = _text(value, "address:port")
    bracketed = re.fullmatch(r"\[([^]]+)\](?::(\d+))?", text)
    plain = re.fullmatch(r"([\d.]+)(?::(\d+))?", text)
    found = bracketed or plain
    address = parse_address(found[1] if found else text)
    port = int(found[2]) if found and found[2] else 53
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"{port} is not a port: 1 to {MAX_PORT}")
    return address, port


def parse_pattern(value: object) -> str:
    """Return a route's pattern: `*`, `domain`, or `.domain` for all names below it."""
    text = _text(value, "a domain, .domain or *")
    if text == "*":
        return text
    dot = "." if text.startswith(".") else ""
    name = text.removeprefix(".")
    # ".example" (a top-level name) is a fair pattern for harnesses: one label will do.
    return dot + (DnsName.parse(name) if dot else Domain.parse(name))


def parse_tls_reports(value: object) -> TlsReportsTo:
    """Return where TLS reports go: a `mailto:` URI, an `https:` URI, or one of each."""
    return TlsReportsTo.parse(
        _text(value, "mailto: and an address, or an https: address")
    )


def parse_syslog(value: object) -> SyslogTarget:
    """Return where syslog messages go: a local socket, or udp: or tcp: and an address."""
    return SyslogTarget.parse(_text(value, "a place of syslog"))


def parse_label(value: object) -> str:
    """Return one DNS label."""
    text = _text(value, "a DNS label").lower()
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{value!r} is not a DNS label: letters, digits and hyphens")
    return text


def _text(value: object, kind: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not {kind}: write it as text in quotes")  # noqa: TRY004 - pydantic turns ValueError alone into its own
    return value.strip()


Duration = Annotated[timedelta, PlainValidator(parse_duration)]
Wait = Annotated[Duration, Field(gt=timedelta(0))]
RateField = Annotated[Rate, PlainValidator(parse_rate)]
Octets = Annotated[int, BeforeValidator(parse_octets), Field(gt=0)]
DomainField = Annotated[Domain, PlainValidator(parse_domain)]
WebHostField = Annotated[WebHost, PlainValidator(parse_web_host)]
DnsNameField = Annotated[DnsName, PlainValidator(parse_dns_name)]
MailboxField = Annotated[Mailbox, PlainValidator(parse_address_of_mail)]
AddressField = Annotated[IpAddress, PlainValidator(parse_address)]
NetworkField = Annotated[IpNetwork, PlainValidator(parse_network)]
EndpointField = Annotated[tuple[IpAddress, int], PlainValidator(parse_endpoint)]
PatternField = Annotated[str, PlainValidator(parse_pattern)]
TlsReportsField = Annotated[TlsReportsTo, PlainValidator(parse_tls_reports)]
SyslogField = Annotated[SyslogTarget, PlainValidator(parse_syslog)]
LabelField = Annotated[str, PlainValidator(parse_label)]
Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
Count = Annotated[int, Field(ge=1)]
