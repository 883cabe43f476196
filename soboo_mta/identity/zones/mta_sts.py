"""MTA-STS for the bounce hosts of delegated zones: the policy file, and what points to it.

Pure. One policy serves every bounce host, for all have the same MX; it is fetched over HTTPS
from `mta-sts.<bounce host>`, so nothing is said before a host for that is configured.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.ports import IpAddress, RecordType

MAX_AGE: Final = timedelta(
    days=7
)  # RFC 8461 §3.2 advises weeks; a mistake lasts as long
POLICY_PATH: Final = "/.well-known/mta-sts.txt"  # RFC 8461 §3.3
_ID_LETTERS: Final = 20  # RFC 8461 §3.1 allows 32


class StsMode(StrEnum):
    """What senders do where TLS fails: report it, or not deliver either."""

    TESTING = "testing"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class StsPolicy:
    """A policy, and the addresses of the HTTPS host that serves it: none, no policy."""

    mode: StsMode = StsMode.TESTING
    hosts: tuple[IpAddress, ...] = ()


NO_STS: Final = StsPolicy()


def policy_text(mode: StsMode, mx_hosts: Iterable[Domain]) -> str:
    """Return the content of the policy file, its lines ending in CR LF (RFC 8461 §3.2)."""
    lines = [
        "version: STSv1",
        f"mode: {mode}",
        *(f"mx: {host}" for host in dict.fromkeys(mx_hosts)),
        f"max_age: {MAX_AGE // timedelta(seconds=1)}",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def record_text(mode: StsMode, mx_hosts: Iterable[Domain]) -> str:
    """Return the TXT that tells of the policy; its id changes with the policy alone
    (RFC 8461 §3.1)."""
    text = policy_text(mode, mx_hosts)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_ID_LETTERS]
    return f"v=STSv1; id={digest};"


def policy_host(bounce_domain: Domain) -> DnsName:
    """The name under which senders fetch the policy of a bounce host."""
    return DnsName(f"mta-sts.{bounce_domain}")


def policy_owner(bounce_domain: Domain) -> DnsName:
    """The name that senders ask whether there is a policy."""
    return DnsName(f"_mta-sts.{bounce_domain}")


def sts_records(
    policy: StsPolicy, bounce_domain: Domain, mx_hosts: tuple[Domain, ...]
) -> Iterator[tuple[DnsName, RecordType, str]]:
    """Yield owner, type and value of what a zone says; nothing without a host."""
    if not policy.hosts:
        return
    text = record_text(policy.mode, mx_hosts)
    yield policy_owner(bounce_domain), RecordType.TXT, text
    for address in dict.fromkeys(policy.hosts):
        kind = RecordType.A if address.version == 4 else RecordType.AAAA
        yield policy_host(bounce_domain), kind, str(address)
