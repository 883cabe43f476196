"""What a zone delegated to us holds, and what we keep in the operator's own zone.

Pure. The SOA is the publisher's: its serial is no fact about a customer. Values as in
`ZoneRecord`. A delegated zone never says psd=n: under RFC 9989 §4.10 it would cut the zone
off from the From domain above it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from soboo_mta.identity.records import (
    RETURNS_PREFERENCE,
    key_text,
    name_server_names,
    operator_records,
    ownership_text,
    published_keys,
    selector_owner,
    spf_text,
)
from soboo_mta.identity.state import DomainSettings, Mode, Operator
from soboo_mta.identity.web_hosts import published_web_hosts
from soboo_mta.identity.zones.mta_sts import (
    NO_STS,
    StsPolicy,
    policy_host,
    policy_owner,
    sts_records,
)
from soboo_mta.identity.zones.zone_dmarc import NO_POLICY, kept_record
from soboo_mta.identity.zones.zone_extra import fitting, sifted
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import IpAddress, RecordType, ZoneRecord

_LONGEST = 253  # characters: 255 octets on the wire (RFC 1035 §2.3.4)
TTL = 300  # seconds: keys and hosts move without the customer
NAME_SERVER_TTL = 3_600  # seconds; the token's name servers stay


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneOptions:
    """What a delegated zone says beyond what follows from its domain."""

    dmarc: str = NO_POLICY
    """The record where the zone is the From domain itself, as `zone_dmarc.record_to_keep`
    returns it; "" for none. A zone below the From domain always says reject."""
    certificate_issuers: tuple[str, ...] = ()
    """Who may issue certificates in the zone (RFC 8659 §4.2); none: no CAA record."""
    tls_reports: str = ""
    """Where TLS reports of the bounce host go, `mailto:` or `https:`; "" for nowhere."""
    sts: StsPolicy = NO_STS
    """The MTA-STS policy of the bounce host (RFC 8461)."""
    extra: tuple[ZoneRecord, ...] = ()
    """The customer's own records, as `zone_extra.extra_record` returns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneContent:
    """What a zone is to hold. `wishes` are published only where nothing stands at their
    name and type. `grounds` are subtrees that are ours alone: the zone itself where it is
    delegated to us; in a zone that is not, what lies outside them is another's, except
    for the records named here."""

    zone: DnsName
    records: tuple[ZoneRecord, ...]
    grounds: tuple[DnsName, ...]
    wishes: tuple[ZoneRecord, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether others keep records in the zone."""
        return self.grounds != (self.zone,)


def zone_records(
    settings: DomainSettings, operator: Operator, options: ZoneOptions
) -> ZoneContent:
    """Return all that the zone delegated for this domain holds, but the SOA.

    Raises FormatError for a DMARC record that is none, for extra records that don't fit,
    and where the zone's name leaves no room for the names in it.
    """
    ours = _once(_ours(settings, operator, options))
    for one in ours:
        if len(one.owner) > _LONGEST:
            raise FormatError(f"{settings.home}: {one.owner} is too long for DNS")
    return ZoneContent(
        zone=settings.home,
        records=(*ours, *_extra(settings, options, ours)),
        grounds=(settings.home,),
    )


def fitted_options(
    settings: DomainSettings, operator: Operator, options: ZoneOptions
) -> tuple[ZoneOptions, tuple[str, ...]]:
    """Return the options with those of the customer's own records that fit, and why
    others don't: none of them keeps a zone from being published."""
    ours = _once(_ours(settings, operator, options))
    kept, reasons = sifted(
        options.extra, zone=settings.home, ours=ours, reserved=our_names(settings)
    )
    return replace(options, extra=kept), reasons


def our_names(settings: DomainSettings) -> frozenset[DnsName]:
    """The names in the zone where nobody else may write, now or later."""
    home, bounce = settings.home, settings.bounce_domain
    selectors = (selector_owner(settings, one) for one in settings.selectors)
    plain = (f"_dmarc.{home}", f"_soboo.{home}", f"_smtp._tls.{bounce}")
    sts = (policy_owner(bounce), policy_host(bounce))
    return frozenset((bounce, *selectors, *map(DnsName, plain), *sts))


def operator_zone(
    operator: Operator,
    domains: Iterable[DomainSettings],
    *,
    reporting: Iterable[DnsName],
    name_servers: Iterable[IpAddress],
) -> ZoneContent:
    """Return what we keep in the operator's own zone.

    `domains` are those not released. DMARC reports on `reporting` are taken (RFC 9990 §4),
    less those whose names are too long to be asked for below the operator's. `name_servers` are the addresses of the first and second name
    server, in that order: of each at most one IPv4 and one IPv6.
    """
    zone, standing = operator.domain, tuple(domains)
    # What stands in a delegated zone is no record of this one.
    here = [one for one in standing if one.mode is not Mode.ZONE]
    found = operator_records(operator, here)
    inside = [one for one in found if one.owner == zone or one.owner.is_below(zone)]
    records = [
        _record(one.owner, one.kind, one.value)
        for one in inside
        if one.owner != f"_dmarc.{zone}"
    ]
    servers = tuple(name_servers)
    for settings in standing:
        if settings.mode is Mode.ZONE:
            records += _name_server_hosts(settings, operator, servers)
    taken = (f"{name}._report._dmarc.{zone}" for name in reporting)
    records += [_text(one, "v=DMARC1") for one in taken if len(one) <= _LONGEST]
    labels = ("b", "k", "l", "i", "n", "_report._dmarc")
    return ZoneContent(
        zone=zone,
        records=_once(records),
        grounds=tuple(DnsName(f"{label}.{zone}") for label in labels),
        # The operator's own policy stands where there is one.
        wishes=tuple(
            _record(one.owner, one.kind, one.value)
            for one in inside
            if one.owner == f"_dmarc.{zone}"
        ),
    )


def _extra(
    settings: DomainSettings, options: ZoneOptions, ours: tuple[ZoneRecord, ...]
) -> tuple[ZoneRecord, ...]:
    return fitting(
        options.extra, zone=settings.home, ours=ours, reserved=our_names(settings)
    )


def _ours(
    settings: DomainSettings, operator: Operator, options: ZoneOptions
) -> Iterator[ZoneRecord]:
    home = settings.home
    for server in name_server_names(settings, operator):
        yield ZoneRecord(
            owner=home, kind=RecordType.NS, value=f"{server}.", ttl=NAME_SERVER_TTL
        )
    spf = spf_text(operator.sources)
    for owner in (home, settings.bounce_domain):
        for host in operator.mx_hosts:
            yield _record(owner, RecordType.MX, f"{RETURNS_PREFERENCE} {host}.")
        yield _text(owner, spf)
    for key in published_keys(settings.keys):
        yield _text(selector_owner(settings, key.selector), key_text(key))
    if policy := _dmarc_text(settings, options):
        yield _text(f"_dmarc.{home}", policy)
    yield _text(f"_soboo.{home}", ownership_text(settings))
    if options.tls_reports:  # RFC 8460 §3
        text = f"v=TLSRPTv1; rua={options.tls_reports}"
        yield _text(f"_smtp._tls.{settings.bounce_domain}", text)
    for one in sts_records(options.sts, settings.bounce_domain, operator.mx_hosts):
        yield _record(*one)
    for web in published_web_hosts(settings, operator):
        yield _record(web.owner, web.kind, web.value)
    for issuer in options.certificate_issuers:
        yield _record(home, RecordType.CAA, f'0 issue "{issuer}"')
    yield from _hosts(settings, operator)


def _dmarc_text(settings: DomainSettings, options: ZoneOptions) -> str:
    if settings.home != settings.name:
        return "v=DMARC1; p=reject"
    return kept_record(options.dmarc) if options.dmarc else ""


def _hosts(settings: DomainSettings, operator: Operator) -> Iterator[ZoneRecord]:
    """EHLO names that lie in the zone. A null reverse-path is checked against them
    (RFC 7208 §2.4); apex and bounce host have an SPF record that names all sources."""
    home = settings.home
    for name in dict.fromkeys(source.ehlo_name for source in operator.sources):
        if name != home and not name.is_below(home):
            continue
        there = [one for one in operator.sources if one.ehlo_name == name]
        yield from _addresses(name, (one.public_address for one in there))
        if name not in (home, settings.bounce_domain):
            yield _text(name, spf_text(there))


def _name_server_hosts(
    settings: DomainSettings, operator: Operator, servers: tuple[IpAddress, ...]
) -> Iterator[ZoneRecord]:
    names = name_server_names(settings, operator)
    for version in (4, 6):
        family = [one for one in servers if one.version == version]
        for name, address in zip(names, family, strict=False):
            yield from _addresses(name, (address,))


def _addresses(owner: DnsName, addresses: Iterable[IpAddress]) -> Iterator[ZoneRecord]:
    for address in addresses:
        kind = RecordType.A if address.version == 4 else RecordType.AAAA
        yield _record(owner, kind, str(address))


def _record(owner: DnsName, kind: RecordType, value: str) -> ZoneRecord:
    return ZoneRecord(owner=owner, kind=kind.value, value=value, ttl=TTL)


def _text(owner: str, value: str) -> ZoneRecord:
    return _record(DnsName(owner), RecordType.TXT, value)


def _once(records: Iterable[ZoneRecord]) -> tuple[ZoneRecord, ...]:
    return tuple(dict.fromkeys(records))
