"""Our Domain Connect templates: the records of modes cname and zone, with the token as the
one variable. Pure.

A template is published once, for every customer alike; so labels are fixed in it, and
domains with other labels need another one, of another name. Shapes: Domain Connect 2.3, sections
"Template Definition" and "Template Record" (draft-ietf-dconn-domainconnect).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    DomainSettings,
    Mode,
    OnBroken,
    Operator,
    Purpose,
    RequiredRecord,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.ports import RecordType
from soboo_mta.tenancy.domains import DEFAULT_BOUNCE_LABEL, DEFAULT_SELECTORS

VARIABLE: Final = "token"
DMARC_GROUP: Final = "dmarc"
"""Applied only where no DMARC record exists: the DNS host would put it in its place."""
MODES: Final = (Mode.CNAME, Mode.ZONE)
"""The modes in which what the customer publishes is the same for all but the token."""
_GROUPS: Final = {
    Purpose.BOUNCE: "bounce",
    Purpose.SELECTOR: "dkim",
    Purpose.AUTHOR_SELECTOR: "dkim",
    Purpose.OWNERSHIP: "zone",
    Purpose.DMARC: DMARC_GROUP,
    Purpose.LINK: "link",
    Purpose.IMAGE: "image",
}
_TTL: Final = 3_600  # seconds
_ANYONE: Final = Domain("customer.invalid")  # RFC 6761 §6.4: never a real name


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a template fixes: the labels below the customer's name. `zone` is None in mode
    cname; in mode zone `bounce` stands in our own zone, and in no template."""

    bounce: str
    selectors: tuple[DnsName, ...]
    zone: str | None = None

    def __post_init__(self) -> None:
        """Raise FormatError for what is not one label of a domain."""
        for label in (self.bounce, *(() if self.zone is None else (self.zone,))):
            if not _is_label(label):
                raise FormatError(f"{label[:60]!r} is not one label of a domain's name")


def _is_label(text: str) -> bool:
    try:
        return len(Domain.parse(f"{text}.{_ANYONE}").labels) == 3
    except FormatError:
        return False


@dataclass(frozen=True, slots=True)
class Texts:
    """What a template says of its operator. `version` rises with each change of it."""

    provider_name: str
    version: int = 1
    logo_url: str | None = None


def service_id(labels: Labels) -> str:
    """Return the template's name beside the operator's: one for each set of labels. Those
    that are not the usual ones follow it, parted by full stops."""
    parts = ["soboo-cname" if labels.zone is None else f"soboo-zone-{labels.zone}"]
    if labels.zone is None and labels.bounce != DEFAULT_BOUNCE_LABEL:
        parts.append(labels.bounce)
    if labels.selectors != DEFAULT_SELECTORS:
        parts += labels.selectors
    return ".".join(parts)


def provider_id(operator: Operator) -> str:
    """Return the operator's name in Domain Connect: its domain."""
    return str(operator.domain)


def key_domain(operator: Operator) -> Domain:
    """Return the name below which signing keys stand (syncPubKeyDomain)."""
    return Domain(f"domainconnect.{operator.domain}")


def file_name(operator: Operator, labels: Labels) -> str:
    """Return what the file is called in the public repository, all in lower case."""
    return f"{provider_id(operator)}.{service_id(labels)}.json"


def labels_of(settings: DomainSettings) -> Labels:
    """Return a domain's labels as a template would fix them.

    Raises FormatError where no template can hold its records: another mode, a whole
    domain delegated, a zone more than one label below.
    """
    name, home = settings.name, settings.home
    if settings.mode not in MODES:
        raise FormatError(
            f"{name} is in mode {settings.mode}: Domain Connect is for modes cname and zone"
        )
    label = None
    if settings.mode is Mode.ZONE:
        label = home.removesuffix(f".{name}")
        if home == name or "." in label:
            raise FormatError(
                f"{home} is delegated: Domain Connect delegates one label below {name}"
                " (`domain add --zone`)"
            )
    return Labels(
        bounce=settings.bounce_label, selectors=settings.selectors, zone=label
    )


def template(operator: Operator, labels: Labels, texts: Texts) -> dict[str, object]:
    """Return a template as the public repository holds it."""
    head: dict[str, object] = {
        "providerId": provider_id(operator),
        "providerName": texts.provider_name,
        "serviceId": service_id(labels),
        "serviceName": "Sending domain",
        "version": texts.version,
    }
    if texts.logo_url is not None:
        head["logoUrl"] = texts.logo_url
    return head | {
        "description": "Lets mail be sent, signed and its bounces received on behalf of"
        " the domain",
        "variableDescription": f"{VARIABLE}: identifies the domain at the sender",
        "syncPubKeyDomain": str(key_domain(operator)),
        "records": list(_records(operator, labels)),
    }


def groups(operator: Operator, labels: Labels) -> tuple[str, ...]:
    """Return the groups of a template's records, in its order."""
    found = (str(one["groupId"]) for one in _records(operator, labels))
    return tuple(dict.fromkeys(found))


def _records(operator: Operator, labels: Labels) -> Iterator[dict[str, object]]:
    for record in required_records(_settings(labels), operator):
        yield _record(record)


def _settings(labels: Labels) -> DomainSettings:
    """A domain of nobody's, with the variable for its token."""
    made = DomainSettings(
        domain_id=DomainId(0),
        tenant=TenantId("nobody"),
        name=_ANYONE,
        mode=Mode.CNAME,
        token=f"%{VARIABLE}%",
        bounce_label=labels.bounce,
        selectors=labels.selectors,
        on_broken=OnBroken.HOLD,
        sign_with_operator=False,
        assume_verified=False,
        keys=(),
    )
    if labels.zone is None:
        return made
    return replace(made, mode=Mode.ZONE, zone=Domain(f"{labels.zone}.{_ANYONE}"))


def _record(record: RequiredRecord) -> dict[str, object]:
    made: dict[str, object] = {
        "groupId": _GROUPS[record.purpose],
        "type": str(record.kind),
        "host": record.owner.removesuffix(f".{_ANYONE}"),
    }
    if record.kind is not RecordType.TXT:
        target = record.value.removesuffix(".").replace(_ANYONE, "%fqdn%")
        return made | {"pointsTo": target, "ttl": _TTL}
    return made | {
        "data": record.value,
        "ttl": _TTL,
        "txtConflictMatchingMode": "Prefix",
        "txtConflictMatchingPrefix": record.value.partition(";")[0],
        "essential": "OnApply",  # the customer's to change afterwards
    }
