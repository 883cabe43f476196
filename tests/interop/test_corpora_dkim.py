"""DKIM over other people's messages: signing equals dkimpy's, verdicts equal theirs.

The corpora (folders `dkim` and `mime`) are where SOBOO_CORPORA says; without them these
tests fail, and `make interop` leaves them out and says so.
"""

import csv
import re
from pathlib import Path

import dkim
import pytest
import time_machine
from dkim.canonicalization import Relaxed

from soboo_mta.formats.authentication.results import Result
from soboo_mta.formats.authentication.signatures import verify
from soboo_mta.formats.canonical import relaxed_body
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.errors import FormatError
from tests.unit.formats.dkimpy_reference import (
    AT,
    CUSTOMER,
    ED25519_KEY,
    RSA,
    signed_by_dkimpy,
    signed_by_us,
)

_SUFFIXES = {".eml", ".msg", ".txt", ".message", ".mbox", ".error"}
_STALWART_AT = 1_667_843_664  # one of its signatures expires
_FEWEST_MESSAGES = 200  # of some 300: a test over an empty folder proves nothing


def crlf(content: bytes) -> bytes:
    """Every line end as CRLF, as acceptance leaves it, the last line ended too."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def messages(corpora: Path) -> list[tuple[Path, HeaderBlock]]:
    """Every file that reads as a message with a From field."""
    found = []
    for path in sorted([*corpora.glob("dkim/**/*"), *corpora.glob("mime/**/*")]):
        if path.suffix not in _SUFFIXES:
            continue
        try:
            header = HeaderBlock.parse(crlf(path.read_bytes()))
        except FormatError:
            continue
        if header.named(b"from"):
            found.append((path, header))
    return found


def test_signatures_over_real_messages_are_byte_identical_to_dkimpys(
    corpora: Path,
) -> None:
    found = messages(corpora)
    assert len(found) >= _FEWEST_MESSAGES
    for path, header in found:
        content = header.content
        assert relaxed_body(header.body) == Relaxed.canonicalize_body(header.body), path
        ours = signed_by_us(content)
        assert ours == signed_by_dkimpy(content, CUSTOMER), path
        ed25519 = signed_by_us(content, ED25519_KEY)
        assert ed25519 == signed_by_dkimpy(content, CUSTOMER, ED25519_KEY), path


def test_case_063_signatures_over_real_messages_are_good_to_dkimpy(
    corpora: Path,
) -> None:
    record = f"v=DKIM1; p={RSA.p}".encode()
    with time_machine.travel(AT, tick=False):
        for path, header in messages(corpora):
            signed = signed_by_us(header.content) + header.content
            assert dkim.verify(signed, dnsfunc=lambda *_, **__: record), path


def test_case_073_verdicts_on_the_mail_dkim_corpus_are_its_own(corpora: Path) -> None:
    folder = corpora / "dkim" / "mail-dkim"
    lines = (folder / "FAKE_DNS.dat").read_text("latin-1").splitlines()
    records = dict(pair for line in lines if len(pair := line.split(None, 1)) == 2)

    def lookup(name: str) -> str | None:
        txt = records.get(name, "NXDOMAIN").strip()
        if txt.startswith("~~"):
            raise TimeoutError(txt)
        return None if txt == "NXDOMAIN" else txt

    judged = []
    with (folder / "expected.tsv").open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            content = (folder / "corpus" / row["file"]).read_bytes()
            verdicts = verify(content, lookup)
            if row["class"] != "current":
                continue
            judged.append(row["result"])
            passed = any(verdict.result is Result.PASS for verdict in verdicts)
            # RFC 8301 §3.1 came after most of these: rsa-sha1 is never a pass
            is_obsolete = any(one.algorithm == "rsa-sha1" for one in verdicts)
            assert passed == (row["result"] == "pass" and not is_obsolete), row
    assert len(judged) == 28


@pytest.mark.parametrize("number", range(1, 7))
def test_case_064_other_peoples_good_signatures_pass(
    corpora: Path, number: int
) -> None:
    """001 is the vector of RFC 8463 Appendix A.3; the others are RSA, large and small."""
    octets = (corpora / "dkim" / "stalwart" / f"{number:03}.txt").read_bytes()
    zone, content = crlf(octets).split(b"\r\n\r\n", 1)
    records = dict(line.split(" ", 1) for line in zone.decode().splitlines())
    with time_machine.travel(_STALWART_AT, tick=False):
        verdicts = verify(content, records.get)
    assert verdicts
    assert {verdict.result for verdict in verdicts} == {Result.PASS}, verdicts
