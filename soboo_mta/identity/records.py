"""The records that a sending domain needs, and those the operator publishes for it.

Pure functions of the settings. A name in the operator's zone carries the domain's token,
so that a CNAME left behind can't be claimed by another tenant (RFC 1034 §3.6.2 for what a
CNAME excludes). Presentation of values as in `RequiredRecord`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from soboo_mta.formats.keys import dkim_txt
from soboo_mta.identity.state import (
    DomainSettings,
    KeyState,
    Mode,
    Operator,
    PublicKey,
    Purpose,
    RequiredRecord,
    Source,
)
from soboo_mta.identity.web_hosts import asked_web_hosts, published_web_hosts
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.ports import IpAddress, RecordType

RETURNS_PREFERENCE = 10


def required_records(
    settings: DomainSettings, operator: Operator
) -> tuple[RequiredRecord, ...]:
    """Return what the customer publishes for this domain, in the order to show it."""
    return (
        *_of_mode(settings, operator),
        *_server_names(settings, operator),
        _dmarc(settings.name),
    )


def _of_mode(settings: DomainSettings, operator: Operator) -> Iterator[RequiredRecord]:
    match settings.mode:
        case Mode.CNAME:
            yield _bounce_cname(settings, operator)
            yield from _selector_cnames(settings, operator, is_required=True)
            yield from asked_web_hosts(settings, operator)
        case Mode.ZONE:
            yield from _delegation(settings, operator)
            if settings.home != settings.name:
                yield from _author_cnames(settings)
        case Mode.MANUAL:
            yield from _pasted(settings, operator)
        case Mode.RELAY:
            yield _ownership(settings)
            yield from _selector_cnames(settings, operator, is_required=False)
        case Mode.MAILBOX:
            yield _ownership(settings)


def operator_records(
    operator: Operator, domains: Iterable[DomainSettings]
) -> tuple[RequiredRecord, ...]:
    """Return what the operator publishes: its own records, and the customers' targets.

    Domains in mode `zone` add the records inside the zone delegated to us. A record that
    several domains or sources need appears once.
    """
    records = [*_own_records(operator)]
    for settings in domains:
        records += _published_for(settings, operator)
    return tuple(dict.fromkeys(records))


# ---- names and values


def selector_owner(settings: DomainSettings, selector: DnsName) -> DnsName:
    """The name at which receivers look the key up (RFC 6376 §3.6.2.1)."""
    return DnsName(f"{selector}._domainkey.{settings.home}")


def selector_target(
    settings: DomainSettings, selector: DnsName, operator: Operator
) -> DnsName:
    """The name in our zone under which the key of `selector` is published."""
    return DnsName(f"{selector}.{settings.token}.k.{operator.domain}")


def bounce_target(settings: DomainSettings, operator: Operator) -> DnsName:
    """The name in our zone that holds MX and SPF for the customer's bounce host."""
    return DnsName(f"{settings.token}.b.{operator.domain}")


def name_server_names(
    settings: DomainSettings, operator: Operator
) -> tuple[DnsName, ...]:
    """The name servers a delegated zone names; the token makes them this tenant's."""
    return tuple(
        DnsName(f"ns{number}.{settings.token}.{name_servers_below(operator)}")
        for number in (1, 2)  # RFC 2182 §5: more than one
    )


def name_servers_below(operator: Operator) -> DnsName:
    """The subtree that the names of all tenants' name servers lie in."""
    return DnsName(f"n.{operator.domain}")


def include_name(operator: Operator) -> DnsName:
    """The name that a manual SPF record includes; it stays while hosts move."""
    return DnsName(f"_spf.{operator.domain}")


def ownership_text(settings: DomainSettings) -> str:
    return f"v=soboo1; t={settings.token}"


def published_keys(keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    """Return the one key to publish per selector: two TXT at a name break both
    (RFC 6376 §3.6.2.2). A revoked key gives way to a later one in its slot."""
    chosen: dict[DnsName, PublicKey] = {}
    for key in keys:
        held = chosen.get(key.selector)
        if held is None or held.state is KeyState.REVOKED:
            chosen[key.selector] = key
    return tuple(chosen.values())


def key_text(key: PublicKey) -> str:
    """The TXT value of a key (RFC 6376 §3.6.1); a revoked one has an empty p=."""
    p = "" if key.state is KeyState.REVOKED else key.p
    return dkim_txt(p, key.algorithm)


def spf_text(sources: Iterable[Source]) -> str:
    """SPF that lists addresses alone: it costs a receiver no look-up (RFC 7208 §4.6.4)."""
    addresses = dict.fromkeys(source.public_address for source in sources)
    terms = [f"ip{address.version}:{address}" for address in addresses]
    return " ".join(["v=spf1", *terms, "-all"])


# ---- what the customer publishes


def _bounce_cname(settings: DomainSettings, operator: Operator) -> RequiredRecord:
    return RequiredRecord(
        owner=settings.bounce_domain,
        kind=RecordType.CNAME,
        value=f"{bounce_target(settings, operator)}.",
        purpose=Purpose.BOUNCE,
        note="bounces come to us; SPF of the reverse-path",
    )


def _selector_cnames(
    settings: DomainSettings, operator: Operator, *, is_required: bool
) -> Iterator[RequiredRecord]:
    for selector in settings.selectors:
        yield RequiredRecord(
            owner=selector_owner(settings, selector),
            kind=RecordType.CNAME,
            value=f"{selector_target(settings, selector, operator)}.",
            purpose=Purpose.SELECTOR,
            selector=selector,
            is_required=is_required,
            note="DKIM key; it may have no TXT behind it until we rotate",
        )


def _delegation(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    where = "in the parent zone"
    if settings.home == settings.name:  # registered, or a name below that
        where = "at the registrar for a whole domain, else in the parent zone"
    for name in name_server_names(settings, operator):
        yield RequiredRecord(
            owner=settings.home,
            kind=RecordType.NS,
            value=f"{name}.",
            purpose=Purpose.OWNERSHIP,
            note=f"{where}; all further records are ours",
        )


def _author_cnames(settings: DomainSettings) -> Iterator[RequiredRecord]:
    """Into the zone: keys move there, and the customer's own zone never changes."""
    for selector in settings.selectors:
        yield RequiredRecord(
            owner=DnsName(f"{selector}._domainkey.{settings.name}"),
            kind=RecordType.CNAME,
            value=f"{selector_owner(settings, selector)}.",
            purpose=Purpose.AUTHOR_SELECTOR,
            selector=selector,
            is_required=False,
            note=(
                f"signs as {settings.name} itself: needed where its DMARC record says"
                " adkim=s"
            ),
        )


def _pasted(settings: DomainSettings, operator: Operator) -> Iterator[RequiredRecord]:
    keys = [key for key in settings.keys if key.state is not KeyState.REVOKED]
    for key in published_keys(settings.keys):
        yield _key_record(selector_owner(settings, key.selector), key)
    if not keys:
        yield _ownership(settings)
    yield RequiredRecord(
        owner=settings.name,
        kind=RecordType.TXT,
        value=f"v=spf1 include:{include_name(operator)} ~all",
        purpose=Purpose.SPF,
        is_required=not keys,
        note=(
            "where a v=spf1 record exists, put the include into it: never publish "
            "two (RFC 7208 §3.2)"
        ),
    )


_KEY_NOTES = {
    KeyState.ACTIVE: "DKIM key; one line, exactly as shown",
    KeyState.NEXT: "DKIM key of the next rotation; publish it ahead",
    KeyState.RETIRING: "DKIM key on its way out; leave it until it is revoked",
    KeyState.REVOKED: "revoked DKIM key; publish the empty p= in place of the key",
}


def _key_record(owner: DnsName, key: PublicKey) -> RequiredRecord:
    return RequiredRecord(
        owner=owner,
        kind=RecordType.TXT,
        value=key_text(key),
        purpose=Purpose.SELECTOR,
        selector=key.selector,
        is_required=key.state is KeyState.ACTIVE,
        note=_KEY_NOTES[key.state],
    )


def _ownership(settings: DomainSettings) -> RequiredRecord:
    return RequiredRecord(
        owner=DnsName(f"_soboo.{settings.name}"),
        kind=RecordType.TXT,
        value=ownership_text(settings),
        purpose=Purpose.OWNERSHIP,
        note="proves that the domain is yours; leave it in place",
    )


def _dmarc(domain: Domain) -> RequiredRecord:
    return RequiredRecord(
        owner=DnsName(f"_dmarc.{domain}"),
        kind=RecordType.TXT,
        value="v=DMARC1; p=none",
        purpose=Purpose.DMARC,
        is_required=False,
        note="any valid DMARC record here or at a parent will do; keep yours",
    )


def _server_names(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    """EHLO names under the From domain, less those in a zone that is ours to keep."""
    for name, sources in _by_ehlo_name(operator):
        is_ours = settings.mode is Mode.ZONE and (
            name == settings.home or name.is_below(settings.home)
        )
        if name.is_below(settings.name) and not is_ours:
            for record in _host(name, sources):
                note = (
                    "our server's name under yours" if not record.note else record.note
                )
                yield replace(
                    record, purpose=Purpose.HELO, is_required=False, note=note
                )


# ---- what the operator publishes


def _own_records(operator: Operator) -> Iterator[RequiredRecord]:
    yield from _returns_host(operator.bounce_domain, operator)
    yield _spf(include_name(operator), spf_text(operator.sources))
    for key in published_keys(operator.keys):
        owner = DnsName(f"{key.selector}._domainkey.{operator.domain}")
        yield _key_record(owner, key)
    yield _dmarc(operator.domain)
    for name, sources in _by_ehlo_name(operator):
        yield from _host(name, sources)


def _published_for(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    match settings.mode:
        case Mode.CNAME:
            yield from _returns_host(bounce_target(settings, operator), operator)
            yield from _target_keys(settings, operator)
            yield from published_web_hosts(settings, operator)
        case Mode.RELAY:
            yield from _target_keys(settings, operator)
        case Mode.ZONE:
            yield from _returns_host(settings.bounce_domain, operator)
            for key in published_keys(settings.keys):
                yield _key_record(selector_owner(settings, key.selector), key)
            yield from published_web_hosts(settings, operator)
        case Mode.MANUAL | Mode.MAILBOX:
            return


def _target_keys(
    settings: DomainSettings, operator: Operator
) -> Iterator[RequiredRecord]:
    for key in published_keys(settings.keys):
        yield _key_record(selector_target(settings, key.selector, operator), key)


def _returns_host(owner: DnsName, operator: Operator) -> Iterator[RequiredRecord]:
    for host in operator.mx_hosts:
        yield RequiredRecord(
            owner=owner,
            kind=RecordType.MX,
            value=f"{RETURNS_PREFERENCE} {host}.",
            purpose=Purpose.BOUNCE,
        )
    yield _spf(owner, spf_text(operator.sources))


def _by_ehlo_name(operator: Operator) -> Iterator[tuple[Domain, list[Source]]]:
    for name in dict.fromkeys(source.ehlo_name for source in operator.sources):
        yield name, [one for one in operator.sources if one.ehlo_name == name]


def _host(name: Domain, sources: list[Source]) -> Iterator[RequiredRecord]:
    for address in dict.fromkeys(source.public_address for source in sources):
        yield RequiredRecord(
            owner=name,
            kind=_address_type(address),
            value=str(address),
            purpose=Purpose.SPF,
            note="EHLO name; the address's PTR must lead back to it",
        )
    # A null reverse-path is checked against the EHLO name: RFC 7208 §2.4.
    yield _spf(name, spf_text(sources))


def _address_type(address: IpAddress) -> RecordType:
    return RecordType.A if address.version == 4 else RecordType.AAAA


def _spf(owner: DnsName, value: str) -> RequiredRecord:
    return RequiredRecord(
        owner=owner, kind=RecordType.TXT, value=value, purpose=Purpose.SPF
    )
