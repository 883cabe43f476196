"""Reports on many messages: DMARC's two forms, TLS's, and the archives they come in."""

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.reports.archives import MAX_REPORT, unpacked
from soboo_mta.formats.reports.dmarc import MAX_ROWS, read_dmarc_report
from soboo_mta.formats.reports.tls import read_tls_report
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import (
    DkimResult,
    DmarcReport,
    DmarcRow,
    TlsFailure,
    TlsPolicy,
    TlsReport,
    Unrecognised,
)
from tests.unit.formats.returned_examples import attached

RECORD = """
  <record>
    <row><source_ip>192.0.2.7</source_ip><count>42</count>
      <policy_evaluated><disposition>none</disposition><dkim>PASS</dkim><spf>fail</spf>
        <reason><type>forwarded</type><comment/></reason></policy_evaluated></row>
    <identifiers><header_from>Acme.example</header_from>
      <envelope_from>bounce.acme.example</envelope_from></identifiers>
    <auth_results>
      <dkim><domain>acme.example</domain><selector>sb1</selector><result>pass</result>
      </dkim>
      <dkim><domain>esp.example</domain><result>fail</result></dkim>
      <spf><domain>bounce.acme.example</domain><result>pass</result></spf>
    </auth_results>
  </record>"""


def report(
    records: str = RECORD, *, opening: str = "<feedback>", p: str = "none"
) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
{opening}
  <report_metadata><org_name>Receiver</org_name><report_id>r-1</report_id>
    <date_range><begin>1764288000</begin><end>1764374399</end></date_range>
  </report_metadata>
  <policy_published><domain>acme.example</domain><p>{p}</p><sp>reject</sp>
  </policy_published>{records}
</feedback>"""


def zipped(octets: bytes, name: str = "report.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "see the other one")
        archive.writestr(name, octets)
    return file.getvalue()


ROW = DmarcRow(
    source_ip="192.0.2.7",
    count=42,
    disposition="none",
    dkim="pass",
    spf="fail",
    header_from="acme.example",
    envelope_from="bounce.acme.example",
    reasons=("forwarded",),
    dkim_results=(
        DkimResult(domain="acme.example", selector="sb1", result="pass"),
        DkimResult(domain="esp.example", selector="", result="fail"),
    ),
    spf_domain="bounce.acme.example",
    spf_result="pass",
)
READ = DmarcReport(
    reporter="Receiver",
    report_id="r-1",
    domain="acme.example",
    begin=datetime(2025, 11, 28, tzinfo=UTC),
    end=datetime(2025, 11, 28, 23, 59, 59, tzinfo=UTC),
    policy="none",
    subdomain_policy="reject",
    rows=(ROW,),
)


@pytest.mark.parametrize(
    "opening",
    [
        "<feedback>",
        '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"><version>1.0</version>',
        '<d:feedback xmlns:d="http://dmarc.org/dmarc-xml/0.1">',
    ],
)
def test_either_form_is_read(opening: str) -> None:
    text = report(opening=opening)
    if "xmlns:d" in opening:
        text = text.replace("</feedback>", "</d:feedback>")
    assert read_dmarc_report(text.encode()) == READ


@pytest.mark.parametrize(
    ("media", "name", "pack"),
    [
        ("application/gzip", "r.xml.gz", gzip.compress),
        ("application/octet-stream", "receiver!acme.example!1!2.xml.gz", gzip.compress),
        ("application/zip", "r.zip", zipped),
        ("text/xml", "r.xml", bytes),
        ("text/plain", "r.xml", bytes),
    ],
)
def test_a_mail_with_a_report_is_recognised(
    media: str, name: str, pack: "type[bytes]"
) -> None:
    content = attached(pack(report().encode()), media=media, name=name)
    assert recognised(content, Arrival(is_from_null=False)) == READ


def test_octets_of_another_charset_do_no_harm() -> None:
    octets = report().encode().replace(b"Receiver", b"R\xe9ceiver")
    assert read_dmarc_report(octets).reporter == "R\ufffdceiver"
    latin = octets.replace(b"UTF-8", b"ISO-8859-1")
    assert read_dmarc_report(latin).reporter == "Réceiver"


def test_what_breaks_off_gives_the_rows_before() -> None:
    text = report(RECORD * 3)
    found = read_dmarc_report(text[: text.rindex("<auth_results>")].encode())
    assert (found.rows, found.left_out) == ((ROW, ROW), 1)


def test_a_broken_row_is_counted() -> None:
    for broken in (RECORD.replace("42", "many"), RECORD.replace("192.0.2.7", "")):
        found = read_dmarc_report(report(RECORD + broken).encode())
        assert (found.rows, found.left_out) == ((ROW,), 1)


def test_case_110_rows_over_the_bound_are_counted_not_kept() -> None:
    small = "<record><row><source_ip>::1</source_ip><count>1</count></row></record>"
    found = read_dmarc_report(report(small * (MAX_ROWS + 7)).encode())
    assert (len(found.rows), found.left_out) == (MAX_ROWS, 7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "breaks off"),
        ("<html></html>", "no <feedback>"),
        (report(""), "no record"),
        (report().replace("acme.example</domain><p>", "</domain><p>"), "no domain"),
        (report().replace("1764374399", "1"), "end is not after"),
        (report().replace("1764374399", "9" * 12), "is none"),
        (report().replace("1764374399", "soon"), "is none"),
        (report().replace("<feedback>", "<!DOCTYPE f [<!ENTITY a 'b'>]><feedback>"),
         "no document type"),
        ("<feedback>" + "<a>" * 50, "too deep"),
    ],
)  # fmt: skip
def test_what_is_no_report_says_why(text: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        read_dmarc_report(text.encode())


def test_case_110_a_bomb_is_not_unpacked() -> None:
    bomb = b"<feedback>" + b" " * 40_000_000
    for packed in (gzip.compress(bomb), zipped(bomb)):
        assert len(packed) < 100_000
        with pytest.raises(FormatError, match="unpacks to over"):
            unpacked(packed)
    content = attached(gzip.compress(bomb), media="application/gzip", name="r.xml.gz")
    found = recognised(content, Arrival())
    assert isinstance(found, Unrecognised)
    assert "unpacks to over" in found.why


def test_a_broken_archive_says_so() -> None:
    good = zipped(report().encode())
    for packed in (good[:-30], good[:60], b"\x1f\x8bx", b"PK\x03\x04"):
        with pytest.raises(FormatError, match="archive is broken"):
            unpacked(packed)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_octets_make_archives_raise_anything_else(octets: bytes, at: int) -> None:
    for good in (gzip.compress(b"x" * 90), zipped(b"x" * 90)):
        try:
            found = unpacked(good[:at] + octets + good[at + len(octets) :])
        except FormatError:
            continue
        assert len(found) <= MAX_REPORT


TLS = {
    "organization-name": "Receiver",
    "report-id": "t-1",
    "date-range": {
        "start-datetime": "2026-11-28T00:00:00Z",
        "end-datetime": "2026-11-28T23:59:59Z",
    },
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "Bounce.acme.example"},
            "summary": {
                "total-successful-session-count": 90,
                "total-failure-session-count": 2,
            },
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "failed-session-count": 2,
                    "sending-mta-ip": "192.0.2.7",
                    "receiving-mx-hostname": "mx.esp.example",
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("media", "name"),
    [
        ("application/tlsrpt+gzip", "r.json.gz"),
        ("application/tlsrpt+json", "r.json"),
        ("application/gzip", "r.json.gz"),
    ],
)
def test_a_tls_report_is_recognised(media: str, name: str) -> None:
    octets = json.dumps(TLS).encode()
    packed = gzip.compress(octets) if name.endswith("gz") else octets
    found = recognised(attached(packed, media=media, name=name), Arrival())
    assert isinstance(found, TlsReport)
    assert (found.reporter, found.report_id) == ("Receiver", "t-1")
    assert found.policies == (
        TlsPolicy(
            policy="sts",
            domain="bounce.acme.example",
            succeeded=90,
            failed=2,
            failures=(
                TlsFailure(
                    result="certificate-expired",
                    sessions=2,
                    sending_ip="192.0.2.7",
                    receiving_mx="mx.esp.example",
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"policies": 3}', '{"policies": []}', "[" * 100_000,
     '{"policies": [], "date-range": {"start-datetime": "now"}}'],
)  # fmt: skip
def test_what_is_no_tls_report_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_tls_report(text.encode())


def test_too_many_values_are_refused_before_they_take_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("soboo_mta.formats.reports.tls._MAX_COMMAS", 100)
    octets = json.dumps(TLS).encode()
    assert octets.count(b",") < 100
    assert read_tls_report(octets).policies
    with pytest.raises(FormatError, match="over 100 values"):
        read_tls_report(octets[:-1] + b', "x": [' + b"0," * 100 + b"0]}")


def test_odd_values_in_a_tls_report_do_no_harm() -> None:
    odd = {**TLS, "policies": [3, {"policy": "none", "summary": {}}, {}]}
    odd["policies"].append({"summary": {"total-failure-session-count": "7"}})
    found = read_tls_report(json.dumps(odd).encode())
    assert [one.failed for one in found.policies] == [0, 0, 7]
