"""Other people's returns: real reports of many systems, recognised and read."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from soboo_mta.events.reports.dmarc import Whose
from soboo_mta.formats.reports.archives import unpacked
from soboo_mta.formats.reports.dmarc import read_dmarc_report
from soboo_mta.formats.reports.tls import read_tls_report
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import Dsn, FailureReport, Kind
from soboo_mta.returns.reports.dmarc import (
    MAX_FIGURES,
    Ours,
    days_of,
    incidents,
    joined,
    merged,
)

_EXPECTED = {
    "dsn-arf/kumomta-rfc3464/*.eml": {Kind.DSN: 7},
    "dsn-arf/kumomta-rfc5965/*.eml": {Kind.COMPLAINT: 4},
    "dsn-arf/stalwart-arf/*.eml": {Kind.COMPLAINT: 2, Kind.FAILURE_REPORT: 3},
    "dsn-arf/stalwart-dsn-generated/*.eml": {Kind.DSN: 4},
    "dsn-arf/mimekit/*delivery*.txt": {Kind.DSN: 4},
    "dsn-arf/mimekit/bounce.txt": {Kind.DSN: 1},
    "dsn-arf/mimekit/feedback-report.txt": {Kind.COMPLAINT: 1},
    "dmarc-reports/mox/*.eml": {Kind.DMARC_REPORT: 5},
    "dmarc-reports/stalwart/*.eml": {Kind.DMARC_REPORT: 5},
    "dmarc-reports/parsedmarc/aggregate/*.eml": {Kind.DMARC_REPORT: 3},
    "dmarc-reports/parsedmarc/failure/*.eml": {
        Kind.FAILURE_REPORT: 4,
        Kind.AUTO_REPLY: 1,  # in plain words, without any report
    },
    "tlsrpt/*/*.eml": {Kind.TLS_REPORT: 5},
}
_BROKEN = {  # XML that no reader takes
    "empty.xml",
    "invalid_xml.xml",
    "ikea.com!example.de!1538690400!1538776800.xml",  # ends before its first record
}


@pytest.mark.parametrize("pattern", _EXPECTED)
def test_mails_of_a_corpus_are_recognised(pattern: str, corpora: Path) -> None:
    found = [recognised(path.read_bytes(), Arrival()) for path in corpora.glob(pattern)]
    assert Counter(one.kind for one in found) == _EXPECTED[pattern]
    for one in found:
        if isinstance(one, Dsn):
            assert one.form == "rfc3464" or one.recipients[0].diagnostic
        elif isinstance(one, FailureReport):
            assert one.source_ip


def _xml(corpora: Path) -> Iterator[Path]:
    for path in sorted(corpora.glob("dmarc-reports/**/*")):
        if path.suffix in (".xml", ".gz", ".zip"):
            yield path


def test_dmarc_reports_of_a_corpus_are_read(corpora: Path) -> None:
    refused, rows = set[str](), 0
    for path in _xml(corpora):
        try:
            report = read_dmarc_report(unpacked(path.read_bytes()))
        except FormatError:
            refused.add(path.name)
            continue
        assert report.domain
        assert not report.left_out or path.name.startswith("bad.com!")
        rows += len(report.rows)
    assert refused == _BROKEN
    assert rows > 13_000


def test_the_same_report_in_three_packings_reads_the_same(corpora: Path) -> None:
    folder = corpora / "dmarc-reports/parsedmarc/extract_report"
    read = [
        read_dmarc_report(unpacked(path.read_bytes()))
        for path in sorted(folder.glob("nice-input*"))
    ]
    assert len(read) == 3
    assert all(one == read[0] for one in read)


def test_tls_reports_of_a_corpus_are_read(corpora: Path) -> None:
    reports = [
        read_tls_report(path.read_bytes()) for path in corpora.glob("tlsrpt/*/*.json")
    ]
    assert len(reports) == 6
    assert all(report.policies for report in reports)


def test_dmarc_reports_of_a_corpus_are_counted_without_loss(corpora: Path) -> None:
    """Whatever real receivers write: each message is in a figure, and few figures are kept."""
    compared = 0
    for path in _xml(corpora):
        try:
            report = read_dmarc_report(unpacked(path.read_bytes()))
        except FormatError:
            continue
        domain = Domain.parse_or_none(report.domain)
        assert domain is not None, path.name
        first, last = days_of(report)
        assert first <= last, path.name
        addresses = frozenset(map(ip_address, {report.rows[0].source_ip}))
        ours = Ours(
            addresses=addresses, signatures=frozenset(), authors=frozenset((domain,))
        )
        figures = joined(report, domain, ours)
        assert figures[0].whose in (Whose.OURS, Whose.REST), path.name
        kept = merged(figures, domain)
        assert len(kept) <= MAX_FIGURES + 2
        assert sum(one.messages for one in kept) == sum(
            one.count for one in report.rows
        )
        incidents(report, figures, ours.authors)
        compared += 1
    assert compared > 20
