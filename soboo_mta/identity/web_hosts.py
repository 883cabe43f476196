"""Link and image hosts under the customer's name: what is asked for, and what we publish.

Pure. Nothing is asked for before a host of ours answers, so that no customer points a name at
nothing; what a name leads to is published as soon as its hosts are configured.
"""

from collections.abc import Iterator
from typing import Final

from soboo_mta.identity.state import (
    DomainSettings,
    Mode,
    Operator,
    Purpose,
    RequiredRecord,
    WebHost,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import RecordType

WEB_PURPOSES: Final = (Purpose.LINK, Purpose.IMAGE)
_LABELS: Final = {Purpose.LINK: "link", Purpose.IMAGE: "img"}
_TARGETS: Final = {Purpose.LINK: "l", Purpose.IMAGE: "i"}
_NOTES: Final = {
    Purpose.LINK: "links in mail lead to your own name; leave a name that is in use as it is",
    Purpose.IMAGE: "images in mail come from your own name; leave one in use as it is",
}


def web_host(settings: DomainSettings, purpose: Purpose) -> DnsName:
    """The name that stands in mail: link.customer.com, img.customer.com."""
    return DnsName(f"{_LABELS[purpose]}.{settings.home}")


def web_target(
    settings: DomainSettings, purpose: Purpose, operator: Operator
) -> DnsName:
    """The name in our zone that the customer's leads to; the token makes it this one's."""
    return DnsName(f"{settings.token}.{_TARGETS[purpose]}.{operator.domain}")


def hosts_for(operator: Operator, purpose: Purpose) -> tuple[WebHost, ...]:
    return operator.link_hosts if purpose is Purpose.LINK else operator.image_hosts


def asked_web_hosts(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    """Yield what the customer publishes for links and images; mail leaves without it."""
    for purpose in WEB_PURPOSES:
        if purpose in operator.open_doors and hosts_for(operator, purpose):
            yield RequiredRecord(
                owner=web_host(settings, purpose),
                kind=RecordType.CNAME,
                value=f"{web_target(settings, purpose, operator)}.",
                purpose=purpose,
                is_required=False,
                note=_NOTES[purpose],
            )


def published_web_hosts(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    """Yield what the names lead to: our hosts, at the target, or in a zone delegated to us
    at the name itself."""
    for purpose in WEB_PURPOSES:
        owner = (
            web_host(settings, purpose)
            if settings.mode is Mode.ZONE
            else web_target(settings, purpose, operator)
        )
        for host in dict.fromkeys(hosts_for(operator, purpose)):
            if isinstance(host, DnsName):
                kind, value = RecordType.CNAME, f"{host}."
            else:
                kind = RecordType.A if host.version == 4 else RecordType.AAAA
                value = str(host)
            yield RequiredRecord(owner=owner, kind=kind, value=value, purpose=purpose)
