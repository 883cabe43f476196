"""What there is to publish, read from the store."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.state import DomainSettings, Mode, Operator
from soboo_mta.identity.zones.mta_sts import StsPolicy
from soboo_mta.identity.zones.zone import (
    ZoneContent,
    ZoneOptions,
    fitted_options,
    operator_zone,
    zone_records,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId
from soboo_mta.onboarding.publish.publisher import (
    Trouble,
)
from soboo_mta.settings import Settings
from soboo_mta.tenancy.domains import DomainView, released_zones, views
from soboo_mta.tenancy.domains.checks import is_delegated
from soboo_mta.tenancy.domains.zones import every_own_record, kept_policies
from soboo_mta.tenancy.signing.keys import operator_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What is to be on the name server, and whose each delegated zone is."""

    contents: tuple[ZoneContent, ...]  # the operator's own first: others lead to it
    released: tuple[DnsName, ...]
    owners: Mapping[DnsName, DomainSettings]
    operator: Operator
    policies: Mapping[DomainId, str]  # DMARC of zones that are From domains, once read
    unfit: tuple[Trouble, ...] = ()  # what can't be stated; all else is


def zones_of(connection: Connection, settings: Settings, suffixes: Suffixes) -> Zones:
    """Read what is to be published now. Of several domains that one zone was set up
    for, the one whose delegation was seen has it, else the last verified: its parent led
    there later. Else the first; its parent says whether that is right."""
    operator = settings.identity(operator_keys(connection))
    found = views(connection)
    publish = settings.publish
    claims: defaultdict[DnsName, list[DomainView]] = defaultdict(list)
    for view in sorted(found, key=lambda one: -(one.verified_at or 0)):
        if view.settings.mode is Mode.ZONE:
            claims[view.settings.home].append(view)
    owners = {zone: _owner(connection, some) for zone, some in claims.items()}
    own = operator_zone(
        operator,
        [view.settings for view in found],
        reporting=_reporting(found, suffixes),
        name_servers=publish.name_servers,
    )
    plain, extra = zone_options(settings), every_own_record(connection)
    policies = kept_policies(connection)
    delegated: list[ZoneContent] = []
    unfit: list[Trouble] = []
    for zone, of in owners.items():
        options = replace(
            plain,
            extra=extra.get(of.domain_id, ()),
            dmarc=policies.get(of.domain_id, ""),  # nothing weakens what is not known
        )
        try:
            options, reasons = fitted_options(of, operator, options)
            delegated.append(zone_records(of, operator, options))
        except FormatError as error:
            reasons = (str(error),)
        unfit += [Trouble(zone, reason) for reason in reasons]
    return Zones(
        contents=(own, *delegated),
        released=tuple(
            zone for zone in released_zones(connection) if zone != operator.domain
        ),
        owners=owners,
        operator=operator,
        policies=policies,
        unfit=tuple(unfit),
    )


def _reporting(found: Iterable[DomainView], suffixes: Suffixes) -> list[Domain]:
    """Where the DMARC records of verified From domains may stand: there, or at the
    organization's name above (RFC 9989 §4.10.1)."""
    names = {one.settings.name for one in found if one.verified_at}
    return sorted(names | {suffixes.organizational_domain(one) for one in names})


def _owner(connection: Connection, claims: Sequence[DomainView]) -> DomainSettings:
    """Whose the zone is, of those that set it up, the last verified first."""
    if len(claims) > 1:
        for view in claims:
            if is_delegated(connection, view.settings.domain_id):
                return view.settings
    return claims[0].settings


def zone_options(settings: Settings) -> ZoneOptions:
    """Return what every delegated zone says by the settings."""
    publish = settings.publish
    return ZoneOptions(
        certificate_issuers=tuple(publish.certificate_issuers),
        tls_reports=str(publish.tls_reports or ""),
        sts=StsPolicy(mode=publish.mta_sts_mode, hosts=publish.mta_sts_hosts),
    )
