"""The operator's routes: a pattern and the next hops that it names. Pure.

The most exact pattern wins; without one a domain's MX hosts take its mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import IpAddress, TlsPolicy

EVERYTHING = "*"
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """A configured next hop: an address, or a name whose addresses are looked up."""

    host: IpAddress | DnsName
    port: int

    def __str__(self) -> str:
        host = str(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int = 25) -> Self:
        """Return the hop of `host`, `host:port`, `[address]:port`, or raise FormatError."""
        host, port = _split_port(text.strip())
        number = default_port if port is None else _port(port)
        try:
            return cls(host=ip_address(host), port=number)
        except ValueError:
            return cls(host=DnsName.parse(host), port=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTo:
    """Deliver to the first of `hops` that takes it; no MX look-up, no address check: the
    operator named them."""

    hops: tuple[NextHop, ...]
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC

    @property
    def name(self) -> str:
        """The name of the site that the hops are."""
        return "|".join(map(str, self.hops))


@dataclass(frozen=True, slots=True)
class Mx:
    """Deliver to the domain's MX hosts (RFC 5321 §5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule: `pattern` is a domain, `.domain` for all names below it, or `*`."""

    pattern: str
    to: RouteTo | Mx


_MX = Mx()


def route(domain: Domain, routes: Sequence[Route]) -> RouteTo | Mx:
    """Return where mail for `domain` goes: the most exact route, else its MX hosts."""
    matching = [rule for rule in routes if _matches(rule.pattern, domain)]
    return max(matching, key=_exactness).to if matching else _MX


def _matches(pattern: str, domain: Domain) -> bool:
    if pattern == EVERYTHING:
        return True
    if pattern.startswith("."):
        return domain.endswith(pattern)
    return domain == pattern


def _exactness(rule: Route) -> tuple[bool, int]:
    is_exact = rule.pattern != EVERYTHING and not rule.pattern.startswith(".")
    return (is_exact, len(rule.pattern))


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    if text.count(":") > 1:  # an IPv6 address without a port
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PORT):
        raise FormatError(f"{text[:20]!r} is not a port: 1 to {MAX_PORT}")
    return int(text)
