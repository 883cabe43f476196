"""The Authentication-Results field: RFC 8601's grammar whatever the words are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    Rule,
    SignatureVerdict,
    SpfVerdict,
)
from soboo_mta.mail.domain import DnsName, Domain
from tests.examples import examples

US = Domain("mx.esp.example")
THEM = Domain("example.net")
GOOD = Authentication(
    spf=SpfVerdict(result=Result.PASS, identity=Identity.MAILFROM, domain=THEM),
    dkim=(
        SignatureVerdict(
            result=Result.PASS,
            domain=THEM,
            selector=DnsName("s1"),
            algorithm="rsa-sha256",
            b="Ab/d+f12",
        ),
    ),
    dmarc=DmarcVerdict(
        result=Result.PASS,
        author=THEM,
        policy="reject",
        found_at=DnsName("example.net"),
        aligned_by=(Rule.WALK, Rule.SUFFIX_LIST),
    ),
)
_TOKEN = r"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+"
_CLAUSE = re.compile(
    rf"[a-z]+=[a-z]+(?: \([a-z ,]+\))?"
    rf'(?: reason=(?:{_TOKEN}|"[ !#-\[\]-~]*"))?'
    rf'(?: [a-z]+\.[a-z]+=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*'
)


def clauses(field: str) -> list[str]:
    """The clauses of a field that keeps to the grammar; folds must be the only ends of
    lines."""
    assert field.isascii()
    assert field.endswith("\r\n")
    unfolded = field.removesuffix("\r\n").replace("\r\n ", " ")
    assert not re.search(r"[^ -~]", unfolded), unfolded
    name, _, rest = unfolded.partition(": ")
    assert name == "Authentication-Results"
    first, *found = re.split(r"; (?=spf|dkim|dmarc)", rest)
    assert first == US
    for clause in found:
        assert _CLAUSE.fullmatch(clause), clause
    return found


def test_the_field_of_a_good_message() -> None:
    assert GOOD.header(US) == (
        "Authentication-Results: mx.esp.example;\r\n"
        " spf=pass smtp.mailfrom=example.net;\r\n"
        " dkim=pass header.d=example.net header.s=s1 header.a=rsa-sha256\r\n"
        ' header.b="Ab/d+f12";\r\n'
        " dmarc=pass (aligned by tree walk, aligned by suffix list)\r\n"
        " header.from=example.net polrec.p=reject polrec.domain=example.net\r\n"
    )


def test_the_field_where_nothing_is_known() -> None:
    nothing = Authentication(
        spf=SpfVerdict(result=Result.NONE, identity=Identity.HELO, domain=None),
        dkim=(),
        dmarc=DmarcVerdict(result=Result.NONE),
    )
    assert clauses(nothing.header(US)) == ["spf=none", "dkim=none", "dmarc=none"]


@pytest.mark.parametrize(
    "said",
    [
        "x\r\nX-Injected: yes",
        'x" header.d=bank.example; dkim=pass',
        "x\\",
        "x) (",
        "\x00\x1b[31m\u2028",
        "ü" * 400,
        "x" * 16_000,
        "",
    ],
)
def test_a_strangers_words_stay_inside_their_value(said: str) -> None:
    bad = SignatureVerdict(
        result=Result.PERMERROR, algorithm=said, b=said[:8], cause=said
    )
    found = clauses(
        Authentication(spf=GOOD.spf, dkim=(bad,), dmarc=GOOD.dmarc).header(US)
    )
    assert [one.split(" ")[0] for one in found] == [
        "spf=pass",
        "dkim=permerror",
        "dmarc=pass",
    ]


_DOMAINS = st.sampled_from(
    [None, THEM, Domain(".".join(["a" * 63] * 3 + ["b" * 40, "example"]))]
)
_SAID = st.one_of(st.text(max_size=200), st.sampled_from(["x" * 255, "x" * 2_000]))


@examples(500)
@given(
    domain=_DOMAINS,
    said=st.lists(_SAID, min_size=4, max_size=4),
    count=st.integers(0, 10),
    rules=st.lists(st.sampled_from(Rule), unique=True),
)
def test_any_words_make_one_field(
    domain: Domain | None, said: list[str], count: int, rules: list[Rule]
) -> None:
    field = Authentication(
        spf=SpfVerdict(result=Result.SOFTFAIL, identity=Identity.HELO, domain=domain),
        dkim=(
            SignatureVerdict(
                result=Result.FAIL,
                domain=domain,
                algorithm=said[0],
                b=said[1],
                cause=said[2],
            ),
        )
        * count,
        dmarc=DmarcVerdict(
            result=Result.FAIL,
            author=domain,
            cause=said[3],
            aligned_by=tuple(rules),
        ),
    ).header(US)
    assert len(clauses(field)) == 2 + max(count, 1)
    assert field.count("\r\n") == field.count("\n") == field.count("\r")
    for line in field.split("\r\n"):
        assert len(line) <= 78 or line.count(" ") == 1, (
            line
        )  # one word: no place to fold


def test_what_passes_is_proven_and_nothing_else() -> None:
    other = Domain("other.example")
    signatures = [
        SignatureVerdict(result=result, domain=Domain(f"{result}.example"))
        for result in Result
    ]
    found = Authentication(
        spf=SpfVerdict(result=Result.NEUTRAL, identity=Identity.HELO, domain=other),
        dkim=(*signatures, SignatureVerdict(result=Result.PASS)),
        dmarc=GOOD.dmarc,
    )
    assert found.authentic_domains == {"pass.example"}
    assert GOOD.authentic_domains == {THEM}
