"""Writes docs/rfc.md: each section of an RFC that the code names, with the files.

    python tools/rfc_index.py

The titles and what is honoured of each RFC stand here; the sections and files come from
the code. A new RFC needs its line in `RFCS`.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ROOT / "soboo_mta"
INDEX = ROOT / "docs" / "rfc.md"
WHOLE = "whole"  # named without a section
_NAMED = re.compile(r"RFC (\d{3,5})((?:,? (?:and )?§[\d.]*\d)*)")
_SECTION = re.compile(r"§([\d.]*\d)")
_HEAD = """\
# RFCs and where they are honoured

Each section that the code names, with the files that name it. Written by
`make rfc`; `tests/unit/test_docs_rfc.py` keeps both directions true: what the code names is
listed here, and what is listed here is named in that file.
"""

RFCS = {
    1034: ("Domain names: concepts", "look-ups; a chain of CNAMEs ends"),
    1035: ("Domain names: implementation", "look-ups, zone files"),
    1123: ("Requirements for Internet hosts", "client behaviour of SMTP"),
    1428: ("Unlabelled 8-bit mail", "a text without type, for a 7-bit hop"),
    1847: ("Multipart/signed and encrypted", "what is signed is never touched"),
    1870: ("SMTP SIZE", "announced, and checked at MAIL and at the final dot"),
    1982: ("Serial number arithmetic", "zone serials"),
    2034: ("SMTP ENHANCEDSTATUSCODES", "every reply has one"),
    2045: ("MIME part one", "8-bit bodies are encoded for a hop without 8BITMIME"),
    2046: ("MIME part two: media types", "parts found by their delimiters"),
    2047: ("MIME part three: encoded words", "in display names of From"),
    2104: ("HMAC", "signed reverse-paths"),
    2136: ("Dynamic updates in DNS", "zones are kept on a name server"),
    2181: ("Clarifications to DNS", "TTLs, names"),
    2182: ("Selection of secondary name servers", "several servers of a zone"),
    2231: ("MIME parameter values", "read in Content-Type; names of attachments"),
    2308: ("Negative caching of DNS", "NXDOMAIN, NODATA, failure"),
    2369: (
        "List fields",
        "List-Unsubscribe is written, and what comes by it is recognised",
    ),
    2392: (
        "Content-ID and Message-ID URLs",
        "images inside HTML, on the page of the lab",
    ),
    2505: ("Anti-spam recommendations", "what a Received field says"),
    2920: ("SMTP PIPELINING", "both sides"),
    3030: ("SMTP CHUNKING and BINARYMIME", "BDAT is taken; BINARYMIME is not offered"),
    3207: ("SMTP STARTTLS", "both sides"),
    3339: ("Date and time on the Internet", "HOLDUNTIL"),
    3461: ("SMTP DSN", "both sides; reports of our own"),
    3463: ("Enhanced status codes", "read and written"),
    3464: ("Delivery status notifications", "written"),
    3597: ("Unknown DNS types", "zone files"),
    3834: ("Automatic responses", "Auto-Submitted in reports"),
    3848: ("ESMTP transmission types", "the `with` of Received"),
    4033: ("DNSSEC introduction", "left to the resolver"),
    4034: ("DNSSEC records", "key-signing keys"),
    4035: ("DNSSEC", "what a validating resolver refuses, and why"),
    4422: ("SASL", "EXTERNAL, by client certificates"),
    4509: ("SHA-256 in DS records", "for the parent of a signed zone"),
    4592: ("Wildcards in DNS", "the lab's authority"),
    4616: ("SASL PLAIN", "submission"),
    4648: ("Base encodings", "reverse-paths, tokens"),
    4865: ("SMTP FUTURERELEASE", "submission"),
    4871: ("DKIM, first edition", "obsolete: as read in old keys"),
    4954: ("SMTP AUTH", "PLAIN, LOGIN and EXTERNAL"),
    5234: ("ABNF", "grammars"),
    5280: ("X.509 certificates", "the names in a client's"),
    5321: ("SMTP", "both sides, without relaying for strangers and VRFY"),
    5322: ("Internet Message Format", "From strictly; the rest kept octet for octet"),
    5424: ("The syslog protocol", "events to syslog"),
    5426: ("Syslog over UDP", "a datagram each"),
    5598: ("Internet mail architecture", "words"),
    5869: ("HKDF", "keys from the master key"),
    5890: ("IDNA definitions", "A-labels"),
    5891: ("IDNA protocol", "domains parsed at the door"),
    5965: ("Feedback reports (ARF)", "complaints are recognised"),
    6008: (
        "Differentiating DKIM results",
        "the beginning of b= beside each result",
    ),
    6052: ("IPv6 Addressing of IPv4/IPv6 Translators", "addresses are unwrapped"),
    6066: ("TLS extensions", "the name a client asks for, in the lab"),
    6152: ("SMTP 8BITMIME", "both sides"),
    6266: ("Content-Disposition in HTTP", "downloads of the lab"),
    6376: ("DKIM", "signing at departure; verification of keys and of what comes in"),
    6409: ("Message submission", "ports 587 and 465"),
    6530: ("Internationalised mail: overview", "SMTPUTF8"),
    6531: ("SMTP SMTPUTF8", "both sides"),
    6532: ("Internationalised headers", "UTF-8 in headers"),
    6522: ("multipart/report", "reports"),
    6533: ("Internationalised reports", "ORCPT of type utf-8, reports in UTF-8"),
    6430: ("Feedback type not-spam", "is no complaint"),
    6587: ("Syslog over TCP", "octet counting"),
    6591: (
        "Reports on failed authentication",
        "recognised, with their signature's selector",
    ),
    6598: ("Shared address space", "not a public destination"),
    6647: ("Greylisting", "recognised; first retry sooner"),
    6750: ("OAuth 2.0 bearer tokens", "the form of the field alone"),
    6761: ("Special-use domain names", "not looked up"),
    7208: ("SPF", "records for sources; evaluation of domains and of what comes in"),
    7344: ("CDS and CDNSKEY", "what a signed zone asks of its parent"),
    7372: ("Email authentication status codes", "no reverse DNS: the source's fault"),
    7435: ("Opportunistic security", "TLS towards MX hosts"),
    7489: ("DMARC, first edition", "discovery by the public suffix list"),
    7504: ("SMTP 521 and 556", "a null MX is 556"),
    7505: ("Null MX", "fails without connecting"),
    7617: ("HTTP Basic authentication", "mail over HTTP"),
    8017: ("RSA (PKCS #1)", "signed addresses of Domain Connect"),
    8058: ("One-click unsubscribe", "its fields are signed"),
    8174: ("Requirement words", "words"),
    8301: ("DKIM algorithm update", "no SHA-1, no short keys"),
    8314: ("TLS for submission", "implicit TLS on 465"),
    8446: ("TLS 1.3", "an alert, in the sinks of the lab"),
    8460: ("SMTP TLS reporting", "a delegated zone may ask for reports"),
    8461: ("MTA-STS", "not yet"),
    8463: ("DKIM Ed25519", "a second signature where set"),
    8659: ("CAA", "a delegated zone names who may issue certificates"),
    8601: (
        "Authentication-Results",
        "a submitted one is taken out; written of what comes in",
    ),
    8689: ("SMTP REQUIRETLS", "not yet"),
    8945: ("TSIG", "updates and zone transfers are signed"),
    9110: (
        "HTTP semantics",
        "statuses of mail over HTTP; Host, at the lab's page; webhooks",
    ),
    9112: ("HTTP/1.1", "served by uvicorn"),
    9422: ("SMTP LIMITS", "RCPTMAX and MAILMAX of next hops"),
    9477: (
        "Complaint feedback by a field (CFBL)",
        "CFBL-Feedback-ID is read from what came back",
    ),
    9989: (
        "DMARC",
        "tree walk and alignment, before each departure and of what comes in",
    ),
    9990: ("DMARC aggregate reports", "who agrees to take them, and ours"),
    9991: ("DMARC failure reports", "recognised"),
}

References = dict[tuple[int, str], set[str]]


def references(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, section) of each RFC named in `text`; WHOLE without a section.

    White space is taken as one space, comment marks and all: a reference may be wrapped.
    """
    flat = re.sub(r"\s*\n\s*(?:# )?", " ", text)
    for found in _NAMED.finditer(flat):
        sections = _SECTION.findall(found[2]) or [WHOLE]
        yield from ((int(found[1]), section) for section in sections)


def in_code() -> References:
    """Return the files (relative to the root) that name each section."""
    named: References = defaultdict(set)
    for path in CODE.rglob("*.py"):
        for reference in references(path.read_text(encoding="utf-8")):
            named[reference].add(path.relative_to(ROOT).as_posix())
    return named


def in_index(text: str) -> References:
    """Return what docs/rfc.md says, in the same form."""
    named: References = {}
    number = 0
    for line in text.splitlines():
        if head := re.match(r"## RFC (\d+)", line):
            number = int(head[1])
        elif row := re.match(r"\| (?:§([\d.]+)|(whole)) \| (.+) \|$", line):
            named[number, row[1] or row[2]] = set(re.findall(r"`([^`]+)`", row[3]))
    return named


def rendered(named: References) -> str:
    """Return docs/rfc.md; raises KeyError for an RFC without a line in RFCS."""
    parts = [_HEAD]
    for number in sorted({number for number, _ in named}):
        title, honoured = RFCS[number]
        parts.append(f"\n## RFC {number}: {title}\n\nHonoured: {honoured}.\n\n")
        parts.append("| section | files |\n|---|---|\n")
        sections = [section for one, section in named if one == number]
        for section in sorted(sections, key=_order):
            files = ", ".join(f"`{one}`" for one in sorted(named[number, section]))
            mark = section if section == WHOLE else f"§{section}"
            parts.append(f"| {mark} | {files} |\n")
    return "".join(parts)


def _order(section: str) -> list[int]:
    return [] if section == WHOLE else [int(part) for part in section.split(".")]


if __name__ == "__main__":
    INDEX.write_text(rendered(in_code()), encoding="utf-8")
