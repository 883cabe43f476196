"""Zone records in dnspython's words, and back; its names end here and in `updates`."""

from collections.abc import Iterable

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.zone

from soboo_mta.identity.zone_text import quoted
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.questions import name_of
from soboo_mta.ports import ZoneRecord

SOA = dns.rdtypes.ANY.SOA.SOA
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
