"""What is found of a return is what Mail::DKIM, OpenDKIM, Mail::SPF and Mail::DMARC find,
and another program reads our Authentication-Results; none shares code with us.
"""

import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import dkim
import pytest
import pytest_asyncio

from soboo_mta.cli.trial.zones import Zones
from soboo_mta.formats.authentication import Authentication, Result, Rule
from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import SigningKey
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.lab.dns.server import NameServer
from soboo_mta.lab.dns.zones import ZoneDirectory
from soboo_mta.mail.address import parse_reverse_path
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.questions import ResolverOptions
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.returns.authentication import AuthenticationOptions, Came, authenticated
from tests.interop.running import run
from tests.interop.verifiers import Opinion, Suspect, judge
from tests.unit.formats.dkimpy_reference import (
    ED25519,
    ED25519_KEY,
    RSA,
    RSA_KEY,
    RSA_PEM,
    Names,
    signed_with_b_inside,
)

_HERE = Path(__file__).parent
_SUFFIXES = SuffixList()
_US = Domain("mx.esp.example")
_LOOPBACK = ip_address("127.0.0.1")
_ZONES = {
    "provider.com": (
        '@ TXT "v=spf1 include:_spf.provider.com mx -all"',
        '_spf TXT "v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/64 ?all"',
        '_dmarc TXT "v=DMARC1; p=reject; sp=quarantine"',
        f's1._domainkey TXT "v=DKIM1; p={RSA.p}"',
        f's2._domainkey TXT "v=DKIM1; k=ed25519; p={ED25519.p}"',
        's3._domainkey TXT "v=DKIM1; p="',
        f's4._domainkey TXT "h=sha1; p={RSA.p}"',
        "@ MX 10 mx",
        "mx A 192.0.2.20",
        'mx TXT "v=spf1 a -all"',
    ),
    "strict.org": (
        "@ A 192.0.2.30",
        '@ TXT "v=spf1 a ~all"',
        '_dmarc TXT "v=DMARC1; p=quarantine; adkim=s; aspf=s"',
        f's1._domainkey TXT "p={RSA.p}"',
        f's1._domainkey.mail TXT "p={RSA.p}"',
        "mail A 192.0.2.30",
        'mail TXT "v=spf1 a -all"',
    ),
    "plain.net": (
        "@ A 192.0.2.40",
        '@ TXT "v=spf1 a exists:%{i}.%{l}.ok.plain.net -all"',
        "203.0.113.9.bounces.ok A 127.0.0.2",
        '_two TXT "v=spf1 -all"',
        'two TXT "v=spf1 +all"',
        'two TXT "v=spf1 -all"',
        'odd TXT "v=spf1 ipv4:192.0.2.1 -all"',
        'many TXT "v=spf1 include:many.plain.net -all"',
        "two A 192.0.2.41",
        "odd A 192.0.2.41",
        "many A 192.0.2.41",
        f's1._domainkey TXT "p={RSA.p}"',
    ),
}
_BODIES = {
    "plain": b"hello\r\n",
    "spaces": b"a  b \t c \r\n  d\t\r\n\r\n\r\n",
    "empty": b"",
    "eight bits": "Größe\r\n".encode(),
    "dsn": (
        b"--x\r\nContent-Type: text/plain\r\n\r\nno such user\r\n--x\r\n"
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        b"Final-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n--x--\r\n"
    ),
}
_SPACES = "spaces of Subject"
_SECOND_FROM = "a second From"
_CHANGES = {
    "none": (b"", b""),
    "subject": (b"Subject: Un", b"Subject: un"),
    _SPACES: (b"Subject: Un", b"Subject:  Un"),
    "body": (b"hello", b"hullo"),
    _SECOND_FROM: (b"From: ", b"From: x@evil.test\r\nFrom: "),
    "d= folded": (b" d=", b" d=\r\n\t"),
}
_ENVELOPES = (
    ("192.0.2.5", "mx.provider.com", "bounces@provider.com"),
    ("192.0.2.20", "mx.provider.com", ""),
    ("192.0.2.77", "mx.provider.com", ""),
    ("2001:db8::5", "mx.provider.com", "a@provider.com"),
    ("2001:db9::5", "mx.provider.com", "a@provider.com"),
    ("192.0.2.30", "mail.strict.org", "a@mail.strict.org"),
    ("192.0.2.30", "mail.strict.org", "a@strict.org"),
    ("192.0.2.31", "mail.strict.org", "a@strict.org"),
    ("203.0.113.9", "plain.net", "bounces@plain.net"),
    ("203.0.113.9", "plain.net", "others@plain.net"),
    ("192.0.2.41", "two.plain.net", "a@two.plain.net"),
    ("192.0.2.41", "odd.plain.net", "a@odd.plain.net"),
    ("192.0.2.41", "many.plain.net", "a@many.plain.net"),
    ("192.0.2.41", "none.plain.net", "a@none.plain.net"),
    ("192.0.2.41", "nowhere.test", ""),
)
_AUTHORS = (
    "mx.provider.com",
    "provider.com",
    "strict.org",
    "mail.strict.org",
    "plain.net",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    how: str  # signed
    change: str  # since
    content: bytes
    client: str
    helo: str
    mail_from: str

    @property
    def what(self) -> str:
        return f"{self.how}, changed: {self.change}, {self.client}, {self.mail_from}"

    @property
    def author(self) -> str:
        return self.content.partition(b"MAILER-DAEMON@")[2].partition(b">")[0].decode()


def _ours(content: bytes, key: SigningKey, domain: str, selector: str) -> bytes:
    header = HeaderBlock.parse(content)
    return Signer().signature_header(
        header=header,
        body_hash=body_hash(header.body),
        plan=Names(Domain(domain), DnsName(selector)),
        key=key,
        signed_at=int(time.time()),
    )


def _dkimpys(content: bytes, domain: str, forms: str) -> bytes:
    header, body = forms.encode().split(b"/")
    names = [b"from", b"subject", b"to"]
    return dkim.sign(
        content,
        b"s1",
        domain.encode(),
        RSA_PEM,
        canonicalize=(header, body),
        include_headers=names,
    )


def _signatures(content: bytes, author: str) -> dict[str, bytes]:
    """A signature in each way, or several, by what it is."""
    home = ".".join(author.split(".")[-2:])
    names = Names(Domain(home), DnsName("s1"))
    first = _ours(content, RSA_KEY, home, "s1")
    return {
        "none": b"",
        "ours": first,
        "Ed25519": _ours(content, ED25519_KEY, "provider.com", "s2"),
        "both": _ours(content, ED25519_KEY, "provider.com", "s2") + first,
        "no such key": _ours(content, RSA_KEY, home, "s9"),
        "revoked": _ours(content, RSA_KEY, "provider.com", "s3"),
        "for SHA-1": _ours(content, RSA_KEY, "provider.com", "s4"),
        "another's": _ours(content, RSA_KEY, "plain.net", "s1"),
        "b= inside": signed_with_b_inside(content, names, b"relaxed"),
        "b= inside, simple": signed_with_b_inside(content, names, b"simple"),
    } | {
        forms: _dkimpys(content, home, forms)
        for forms in (
            "simple/simple",
            "simple/relaxed",
            "relaxed/simple",
            "relaxed/relaxed",
        )
    }


def cases() -> list[Case]:
    """Every signature over every body under every change, the envelopes in turn."""
    found = []
    envelopes = itertools.cycle(_ENVELOPES)
    for author, (name, body) in zip(_AUTHORS, _BODIES.items(), strict=True):
        kind = b'multipart/report; boundary="x"' if name == "dsn" else b"text/plain"
        content = (
            b"From: Mail Delivery <MAILER-DAEMON@%b>\r\nTo: a@esp.example\r\n"
            b"Subject: Undelivered\r\n mail\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: %b\r\n\r\n%b"
        ) % (author.encode(), kind, body)
        for how, signature in _signatures(content, author).items():
            whole = signature + content
            for change, (old, new) in _CHANGES.items():
                changed = whole.replace(old, new) if old else whole
                if old and changed == whole:
                    continue
                client, helo, mail_from = next(envelopes)
                found.append(
                    Case(
                        how=how,
                        change=change,
                        content=changed,
                        client=client,
                        helo=helo,
                        mail_from=mail_from,
                    )
                )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    port: int
    cases: Sequence[Case]
    ours: Sequence[Authentication]
    theirs: Sequence[Opinion]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def compared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Compared]:
    home = tmp_path_factory.mktemp("returned")
    zones = Zones(directory=home)
    zones.write_lab()
    for name, lines in _ZONES.items():
        zones.write(name, lines)
    server = NameServer(ZoneDirectory(home), address="127.0.0.1", port=0)
    await server.start()
    try:
        asked = cases()
        yield Compared(
            port=server.port,
            cases=asked,
            ours=[await _judged(one, server.port) for one in asked],
            theirs=await judge(_suspects(asked, home), server.port),
        )
    finally:
        await server.close()


async def _judged(case: Case, port: int) -> Authentication:
    options = ResolverOptions(servers=((_LOOPBACK, port),))
    return await authenticated(
        case.content,
        Came(
            client=ip_address(case.client),
            helo=case.helo,
            reverse_path=parse_reverse_path(case.mail_from),
        ),
        DnsResolver(options=options, clock=SystemClock()),
        suffixes=_SUFFIXES,
        options=AuthenticationOptions(),
    )


def _suspects(asked: Sequence[Case], home: Path) -> list[Suspect]:
    found = []
    for number, case in enumerate(asked):
        file = home / f"{number}.eml"
        file.write_bytes(case.content)
        found.append(
            Suspect(
                file=file, client=case.client, helo=case.helo, mail_from=case.mail_from
            )
        )
    return found


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_spf_is_what_mail_spf_finds(
    compared: Compared, figures: list[str]
) -> None:
    differing = [
        (case.what, str(ours.spf.result), theirs.spf)
        for case, ours, theirs in zip(
            compared.cases, compared.ours, compared.theirs, strict=True
        )
        if ours.spf.result != theirs.spf
    ]
    assert differing == []
    seen = {ours.spf.result for ours in compared.ours}
    assert seen >= {
        Result.PASS,
        Result.FAIL,
        Result.SOFTFAIL,
        Result.PERMERROR,
        Result.NONE,
    }
    figures.append(f"SPF of returns: {len(compared.cases)} as Mail::SPF has it")


async def test_signatures_are_good_where_mail_dkim_and_opendkim_find_them_good(
    compared: Compared, figures: list[str]
) -> None:
    differing, judged = [], []
    for case, ours, theirs in zip(
        compared.cases, compared.ours, compared.theirs, strict=True
    ):
        if case.change == _SECOND_FROM:  # others take a signature that covers one
            assert all(one.result is not Result.PASS for one in ours.dkim), case.what
            continue
        mine = _said((one.domain or "", one.algorithm, one.result) for one in ours.dkim)
        judged += [is_good for *_, is_good in mine]
        perl = _said((one.d, one.a, one.result) for one in theirs.mail_dkim)
        # Debian's Mail::DKIM does not know Ed25519.
        if _rsa(mine) != _rsa(perl):
            differing.append((case.what, "Mail::DKIM", mine, perl))
        opendkim = _said((one.d, one.a, one.result) for one in theirs.opendkim)
        # `opendkim -t` hands one space behind each colon to its library.
        is_blind = "simple" in case.how and case.change == _SPACES
        if mine != opendkim and not is_blind:
            differing.append((case.what, "OpenDKIM", mine, opendkim))
    assert differing == []
    assert min(judged.count(True), judged.count(False)) >= 80
    figures.append(
        f"DKIM of returns: {judged.count(True)} good and {judged.count(False)} bad"
        " signatures as Mail::DKIM and OpenDKIM have them"
    )


_Said = tuple[str, str, bool]


def _said(signatures: Iterable[tuple[str, str, str]]) -> list[_Said]:
    return sorted((d, a, result == "pass") for d, a, result in signatures)


def _rsa(said: Iterable[_Said]) -> list[_Said]:
    return [one for one in said if one[1] == "rsa-sha256"]


async def test_dmarc_is_what_mail_dmarc_finds(compared: Compared) -> None:
    asked, wanted = [], []
    for case, ours in zip(compared.cases, compared.ours, strict=True):
        passed = sorted({one.domain or "" for one in ours.dkim if one.result == "pass"})
        if ours.dmarc.author is None or len(passed) > 1:
            continue
        spf = ours.spf.domain if ours.spf.result == "pass" else ""
        asked.append({"from": case.author, "spf": spf, "dkim": "".join(passed)})
        wanted.append(ours.dmarc)
    stdin = "".join(json.dumps(one) + "\n" for one in asked)
    ended = await run("perl", _HERE / "dmarc.pl", str(compared.port), stdin=stdin)
    assert ended.code == 0, ended.text
    theirs = [json.loads(line) for line in ended.out.splitlines()]
    assert len(theirs) == len(asked) >= 100
    differing = [
        (question, ours, other)
        for question, ours, other in zip(asked, wanted, theirs, strict=True)
        if ours.result != other["result"]
        or (Rule.SUFFIX_LIST in ours.aligned_by) != (other["result"] == "pass")
    ]
    assert differing == []
    assert {one.result for one in wanted} == {Result.PASS, Result.FAIL, Result.NONE}


async def test_the_field_says_the_same_to_another_program(compared: Compared) -> None:
    fields = "".join(json.dumps(one.header(_US)) + "\n" for one in compared.ours)
    ended = await run("perl", _HERE / "results.pl", stdin=fields)
    assert ended.code == 0, ended.text
    read = [json.loads(line) for line in ended.out.splitlines()]
    assert len(read) == len(compared.ours)
    for ours, said in zip(compared.ours, read, strict=True):
        assert said["by"] == _US
        spf, *signatures, dmarc = said["methods"]
        assert spf[:2] == ["spf", ours.spf.result]
        assert spf[2] == {f"smtp.{ours.spf.identity}": ours.spf.domain}
        assert dmarc[:2] == ["dmarc", ours.dmarc.result]
        assert dmarc[2].get("header.from") == ours.dmarc.author
        if not ours.dkim:
            assert signatures == [["dkim", "none", {}]]
            continue
        for one, other in zip(ours.dkim, signatures, strict=True):
            assert other[:2] == ["dkim", one.result]
            assert other[2]["header.d"] == one.domain
            assert other[2]["header.b"] == one.b
