"""Zone records in dnspython's words, and back; its names end here and in `updates`."""

from collections.abc import Iterable

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.zone

from soboo_mta.identity.zones.zone_text import quoted
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.dns.questions import name_of
from soboo_mta.ports import ZoneRecord

SOA = dns.rdtypes.ANY.SOA.SOA
_SEP = 1  # RFC 4034 §2.1.1: a key that signs keys
_NAMED = frozenset({"CNAME", "MX", "NS", "PTR", "SRV"})  # compare without case


def records_of(
    owner: dns.name.Name, rdataset: dns.rdataset.Rdataset
) -> Iterable[ZoneRecord]:
    """Return one set's records; `owner` is absolute."""
    for rdata in rdataset:
        yield ZoneRecord(
            owner=name_of(owner.to_text()),
            kind=dns.rdatatype.to_text(rdataset.rdtype),
            value=value_of(rdata),
            ttl=rdataset.ttl,
        )


def value_of(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, dns.rdtypes.ANY.TXT.TXT):
        return b"".join(rdata.strings).decode("latin-1")
    text = rdata.to_text()
    return text.lower() if dns.rdatatype.to_text(rdata.rdtype) in _NAMED else text


def rdata_of(record: ZoneRecord) -> dns.rdata.Rdata:
    value = quoted(record.value) if record.kind == "TXT" else record.value
    return dns.rdata.from_text(dns.rdataclass.IN, record.kind, value)


def absolute(name: DnsName) -> dns.name.Name:
    return dns.name.from_text(name)


def content_of(zone: dns.zone.Zone) -> tuple[int, tuple[ZoneRecord, ...]]:
    """Return the serial and every record but the SOA, in order."""
    serial = 0
    found: list[ZoneRecord] = []
    for owner, rdataset in zone.iterate_rdatasets():
        if rdataset.rdtype == dns.rdatatype.SOA:
            soa = rdataset[0]
            assert isinstance(soa, SOA)
            serial = soa.serial
            continue
        found += records_of(owner, rdataset)
    return serial, tuple(sorted(found))


def delegation_signers(zone: DnsName, records: Iterable[ZoneRecord]) -> tuple[str, ...]:
    """Return the DS values (digest type 2, RFC 4509) for the parent of a signed zone:
    those that it asks for by CDS (RFC 7344 §4), else one of each key-signing key."""
    own = [one for one in records if one.owner == zone]
    asked = [one.value for one in own if one.kind == "CDS"]
    if asked:
        return tuple(one for one in asked if one.split()[2] == "2")
    keys = [rdata_of(one) for one in own if one.kind == "DNSKEY"]
    return tuple(
        dns.dnssec.make_ds(absolute(zone), key, "SHA256").to_text()
        for key in keys
        if isinstance(key, dns.rdtypes.ANY.DNSKEY.DNSKEY) and key.flags & _SEP
    )
