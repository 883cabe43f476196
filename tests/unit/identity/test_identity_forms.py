"""Each form of the required records, read back by somebody else's parser."""

import csv
import io
import json
import re
from dataclasses import replace

import dns.rdata
import dns.rdatatype
import pytest
import yaml

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.forms.letter import letter_text
from soboo_mta.identity.forms.octodns import octodns_text
from soboo_mta.identity.forms.table_csv import csv_text
from soboo_mta.identity.forms.terraform import TerraformProvider, terraform_text
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.state import Mode, Purpose, RequiredRecord
from soboo_mta.identity.zones.zone_text import panel_text, records_text
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType
from tests.fakes.domains import CUSTOMER, OPERATOR, SETTINGS

LONG = RequiredRecord(
    owner=DnsName("sb1._domainkey.customer.com"),
    kind=RecordType.TXT,
    value="v=DKIM1; k=rsa; p=" + "Ab+/" * 98,
    purpose=Purpose.SELECTOR,
    note='a note, with a comma and a "quote"',
)
ODD = replace(LONG, value='say "x" \\ ${y} %{z}; ' * 20)
SUFFIXES = SuffixList()
RECORDS = required_records(SETTINGS, OPERATOR)


def _strings(text: str) -> bytes:
    rdata = dns.rdata.from_text("IN", dns.rdatatype.TXT, text)
    return b"".join(rdata.strings)  # type: ignore[attr-defined]


def _resources(text: str) -> dict[str, str]:
    blocks = re.findall(r'^resource "\w+" "([\w-]+)" \{\n(.*?)^\}', text, re.S | re.M)
    assert len(dict(blocks)) == len(blocks)
    return dict(blocks)


def _read(string: str) -> str:
    text: str = json.loads(string)
    return text.replace("$${", "${").replace("%%{", "%{")


def test_csv_reads_back_as_it_was() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text([*RECORDS, LONG, ODD]))))
    assert [(r["name"], r["type"], r["value"], r["note"]) for r in rows] == [
        (r.owner, r.kind, r.value, r.note) for r in (*RECORDS, LONG, ODD)
    ]
    assert {r["required"] for r in rows} == {"yes", "no"}


@pytest.mark.parametrize("record", [LONG, ODD])
def test_terraform_for_cloudflare_quotes_a_long_txt(record: RequiredRecord) -> None:
    (body,) = _resources(
        terraform_text([record], TerraformProvider.CLOUDFLARE, suffixes=SUFFIXES)
    ).values()
    found = re.search(r"content = (.*)", body)
    assert found is not None
    assert _strings(_read(found[1])) == record.value.encode()


@pytest.mark.parametrize("record", [LONG, ODD])
def test_terraform_for_route_53_leaves_the_outer_quotes(record: RequiredRecord) -> None:
    (body,) = _resources(
        terraform_text([record], TerraformProvider.ROUTE53, suffixes=SUFFIXES)
    ).values()
    found = re.search(r'^    (".*"),$', body, re.M)
    assert found is not None
    assert _strings(f'"{_read(found[1])}"') == record.value.encode()


def test_terraform_joins_what_route_53_keeps_as_one_set() -> None:
    zone = Domain("em.customer.com")
    records = required_records(replace(SETTINGS, mode=Mode.ZONE, zone=zone), OPERATOR)
    assert sum(record.kind is RecordType.NS for record in records) == 2
    joined = _resources(
        terraform_text(records, TerraformProvider.ROUTE53, suffixes=SUFFIXES)
    )
    single = _resources(
        terraform_text(records, TerraformProvider.CLOUDFLARE, suffixes=SUFFIXES)
    )
    assert "em_customer_com_ns" in joined
    assert "em_customer_com_ns_2" not in joined
    assert {"em_customer_com_ns", "em_customer_com_ns_2"} <= set(single)


@pytest.mark.parametrize("provider", TerraformProvider)
def test_terraform_leaves_the_servers_of_a_whole_domain_to_its_registrar(
    provider: TerraformProvider,
) -> None:
    records = required_records(replace(SETTINGS, mode=Mode.ZONE), OPERATOR)
    text = terraform_text(records, provider, suffixes=SUFFIXES)
    assert _resources(text) == {}
    for number in (1, 2):
        server = f"name server ns{number}.tok7.n.esp.example\n"
        assert f"# at the registrar of customer.com, not in its zone: {server}" in text


def test_terraform_delegates_a_name_below_a_registered_one() -> None:
    below = replace(SETTINGS, mode=Mode.ZONE, name=Domain("news.customer.co.uk"))
    records = required_records(below, OPERATOR)
    text = terraform_text(records, TerraformProvider.ROUTE53, suffixes=SUFFIXES)
    assert list(_resources(text)) == ["news_customer_co_uk_ns"]


def test_every_other_form_says_where_the_servers_of_a_whole_domain_go() -> None:
    records = required_records(replace(SETTINGS, mode=Mode.ZONE), OPERATOR)
    note = "at the registrar for a whole domain"
    letter = letter_text(records, domain=CUSTOMER, operator=OPERATOR.domain)
    for text in (
        letter,
        csv_text(records),
        records_text(records),
        panel_text(records),
    ):
        assert text.count(note) == 2


def test_terraform_names_that_would_collide_are_told_apart() -> None:
    records = [
        replace(LONG, owner=DnsName(name)) for name in ("1a.b.com", "1a_b.com", "c.d")
    ]
    found = _resources(
        terraform_text(records, TerraformProvider.ROUTE53, suffixes=SUFFIXES)
    )
    assert set(found) == {"_1a_b_com_txt", "_1a_b_com_txt_2", "c_d_txt"}


@pytest.mark.parametrize("provider", TerraformProvider)
def test_terraform_only_suggests_dmarc(provider: TerraformProvider) -> None:
    text = terraform_text(RECORDS, provider, suffixes=SUFFIXES)
    assert "_dmarc_customer_com_txt" not in _resources(text)
    assert "# recommended:" in text
    assert '"_dmarc.customer.com"' in text
    assert "bounce_customer_com_cname" in _resources(text)


def test_octodns_reads_back_as_yaml() -> None:
    keys = [
        replace(LONG, owner=DnsName(f"sb{n}._domainkey.customer.com")) for n in (10, 2)
    ]
    zone = yaml.safe_load(octodns_text([*RECORDS[:1], *keys], apex=CUSTOMER))
    assert list(zone) == ["bounce", "sb2._domainkey", "sb10._domainkey"]
    assert zone["bounce"][0]["value"] == RECORDS[0].value
    (text,) = zone["sb2._domainkey"][0]["values"]
    assert ";" not in text.replace("\\;", "")
    assert text.replace("\\;", ";") == LONG.value


def test_octodns_writes_mx_in_parts() -> None:
    records = operator_records(OPERATOR, [])
    zone = yaml.safe_load(octodns_text(records, apex=OPERATOR.domain))
    (mx,) = [one for one in zone["bounce"] if one["type"] == "MX"]
    assert [f"{v['preference']} {v['exchange']}" for v in mx["values"]] == [
        r.value for r in records if r.kind is RecordType.MX
    ]


def test_octodns_refuses_what_its_zone_cannot_hold() -> None:
    with pytest.raises(FormatError, match="not in the zone other"):
        octodns_text(RECORDS, apex=Domain("other.example"))
    delegated = required_records(replace(SETTINGS, mode=Mode.ZONE), OPERATOR)
    with pytest.raises(FormatError, match="registrar"):
        octodns_text(delegated, apex=CUSTOMER)


@pytest.mark.parametrize("page", [None, "https://setup.example/x"])
def test_the_letter_has_every_name_and_value_on_a_line(page: str | None) -> None:
    text = letter_text(RECORDS, domain=CUSTOMER, operator=OPERATOR.domain, page=page)
    lines = text.splitlines()
    for record in RECORDS:
        assert f"Name:  {record.owner}" in lines
        assert f"Value: {record.value}" in lines
    assert ("https://setup.example/x" in lines) == (page is not None)
