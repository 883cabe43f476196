"""Signatures: octet for octet dkimpy's, good to a verifier, oversigned."""

import base64
import re

import dkim
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.authentication.results import Result
from soboo_mta.formats.authentication.signatures import MAX_SIGNATURES, verify
from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.dkim import OVERSIGNED, WEEK, Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import Algorithm, dkim_txt, load_signing_key
from soboo_mta.mail.domain import DnsName, Domain
from tests.examples import examples
from tests.unit.formats.dkimpy_reference import (
    AT,
    CUSTOMER,
    ED25519,
    ED25519_KEY,
    RSA,
    RSA_KEY,
    RSA_PEM,
    Names,
    signed_by_dkimpy,
    signed_by_us,
)

MESSAGE = (
    b"From: a@customer.example\r\nTo: b@x.example\r\nSubject: one\r\n two\r\n"
    b"X-Other: y\r\n\r\nhello  world \r\n\r\n"
)


def named(selector: str) -> Names:
    return Names(CUSTOMER.domain, DnsName(selector))


def lookup(name: str) -> str | None:
    return {
        "sb1._domainkey.customer.example": dkim_txt(RSA.p, Algorithm.RSA),
        "sb4._domainkey.customer.example": dkim_txt(ED25519.p, Algorithm.ED25519),
        "gone._domainkey.customer.example": dkim_txt("", Algorithm.RSA),
        "odd._domainkey.customer.example": "v=DKIM1; p=!!",
    }.get(name)


_SPACE = st.sampled_from([b"", b" ", b"\t", b"\r\n ", b"\r\n\t", b" \r\n  ", b"  "])
_WORD = st.one_of(
    st.binary(max_size=12).map(lambda octets: re.sub(rb"[\r\n]", b"", octets)),
    st.sampled_from([b"a@customer.example", b"b=0", b"; b=x", b"h=from", b"x" * 80]),
)
_VALUE = st.lists(st.tuples(_SPACE, _WORD), max_size=6).map(
    lambda pairs: b"".join(space + word for space, word in pairs)
)
_NAME = st.sampled_from([*OVERSIGNED, b"x-other", b"received", b"dkim-signature"])
_FIELD = st.tuples(
    _NAME, st.sampled_from([bytes.lower, bytes.title, bytes.upper]), _VALUE
)
_HEADER = st.lists(_FIELD, max_size=20).map(
    lambda fields: b"".join(
        case(name) + b":" + value + b"\r\n" for name, case, value in fields
    )
)
_BODY = st.lists(
    st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\xc3\xa9", b".", b"word " * 30]),
    max_size=30,
).map(b"".join)
_CONTENT = st.tuples(_HEADER, _BODY).map(b"\r\n".join)
_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True)
_NAMES = st.builds(
    Names,
    domain=st.lists(_LABEL, min_size=2, max_size=5).map(".".join).map(Domain),
    selector=st.lists(_LABEL, min_size=1, max_size=2).map(".".join).map(DnsName),
)


@examples(600)
@given(_CONTENT, _NAMES)
def test_an_rsa_signature_is_byte_identical_to_dkimpys(
    content: bytes, names: Names
) -> None:
    assert signed_by_us(content, names=names) == signed_by_dkimpy(content, names)


@examples(200)
@given(_CONTENT, _NAMES)
def test_an_ed25519_signature_is_byte_identical_to_dkimpys(
    content: bytes, names: Names
) -> None:
    ours = signed_by_us(content, key=ED25519_KEY, names=names)
    assert ours == signed_by_dkimpy(content, names, ED25519_KEY)


@examples(200)
@given(_HEADER, _BODY)
def test_case_071_every_signature_made_is_good_to_dkimpy(
    header: bytes, body: bytes
) -> None:
    content = re.sub(rb"(?im)^dkim-signature:", b"x-old:", header) + b"\r\n" + body
    signed = signed_by_us(content) + content
    with time_machine.travel(AT, tick=False):
        assert dkim.verify(signed, dnsfunc=dns)
        (verdict,) = verify(signed, lookup)
    assert (verdict.result, verdict.domain, verdict.selector, verdict.algorithm) == (
        Result.PASS,
        "customer.example",
        "sb1",
        "rsa-sha256",
    )


def dns(name: bytes, timeout: int = 5) -> bytes | None:
    txt = lookup(name.decode().removesuffix("."))
    return txt.encode() if txt else None


def tags_of(signature: bytes) -> dict[str, str]:
    value = signature.decode().partition(":")[2].replace("\r\n", "")
    pairs = (tag.partition("=") for tag in value.split(";"))
    return {name.strip(): text.strip() for name, _, text in pairs}


def test_case_062_the_tags_are_as_promised() -> None:
    signature = signed_by_us(MESSAGE, expires_after=60)
    tags = tags_of(signature)
    assert list(tags) == ["v", "a", "c", "d", "i", "q", "s", "t", "x", "h", "bh", "b"]
    assert tags["c"] == "relaxed/relaxed"
    assert (tags["t"], tags["x"]) == (str(AT), str(AT + 60))
    assert max(map(len, signature.split(b"\r\n"))) <= 78


def test_each_name_is_signed_once_more_than_it_occurs() -> None:
    covered = tags_of(signed_by_us(MESSAGE + b""))["h"].split(" : ")
    assert {name.encode() for name in covered} == set(OVERSIGNED)
    assert [covered.count(name) for name in ("from", "subject", "cc")] == [2, 2, 1]


def test_case_055_the_one_click_fields_are_signed_also_where_they_stand() -> None:
    one_click = (
        b"List-Unsubscribe: <https://l.customer.example/u/1>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    covered = tags_of(signed_by_us(one_click + MESSAGE))["h"].split(" : ")
    assert covered.count("list-unsubscribe") == 2  # the one there, and none besides
    assert covered.count("list-unsubscribe-post") == 2


@pytest.mark.parametrize("name", [name.decode() for name in OVERSIGNED])
def test_case_061_no_covered_field_can_be_added(name: str) -> None:
    signed = f"{name}: more\r\n".encode() + signed_by_us(MESSAGE) + MESSAGE
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signed, lookup)
    assert verdict.result is Result.FAIL


@pytest.mark.parametrize("more", [b"more\r\n", b" x", b"\r\n.\r\n"])
def test_case_062_no_content_can_be_appended(more: bytes) -> None:
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signed_by_us(MESSAGE) + MESSAGE + more, lookup)
    assert verdict.result is Result.FAIL


def test_case_065_several_signatures_of_one_message_are_independent() -> None:
    header = HeaderBlock.parse(MESSAGE)
    unsigned = Signer().prepare(header, body_hash(header.body))
    both = b"".join(
        unsigned.signature_header(plan=names, key=key, signed_at=AT)
        for names, key in [
            (CUSTOMER, RSA_KEY),
            (named("sb4"), ED25519_KEY),
        ]
    )
    with time_machine.travel(AT, tick=False):
        verdicts = verify(both + MESSAGE, lookup)
    assert [(v.algorithm, v.result) for v in verdicts] == [
        ("rsa-sha256", Result.PASS),
        ("ed25519-sha256", Result.PASS),
    ]


@pytest.mark.parametrize("selector", ["sb1", "sb4"])
@pytest.mark.parametrize(
    ("before", "after"),
    [(b"hello", b"hullo"), (b"Subject: one", b"Subject: two")],
)
def test_a_change_fails(selector: str, before: bytes, after: bytes) -> None:
    key = RSA_KEY if selector == "sb1" else ED25519_KEY
    signature = signed_by_us(MESSAGE, key, named(selector))
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signature + MESSAGE.replace(before, after), lookup)
    assert verdict.result is Result.FAIL
    assert verdict.cause


def test_case_075_an_expired_signature_fails() -> None:
    signed = signed_by_us(MESSAGE) + MESSAGE
    with time_machine.travel(AT + WEEK + 86_400, tick=False):
        (verdict,) = verify(signed, lookup)
    assert (verdict.result, verdict.cause[:13]) == (Result.FAIL, "x= value is p")


@pytest.mark.parametrize(
    ("selector", "cause"),
    [
        ("none", "no key is published at none._domainkey.customer.example"),
        ("gone", "revoked"),
        ("odd", ""),
        ("sb4", "does not fit a key of k=ed25519"),
    ],
)
def test_case_073_an_unusable_key_is_a_permanent_error(
    selector: str, cause: str
) -> None:
    signed = signed_by_us(MESSAGE, names=named(selector)) + MESSAGE
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signed, lookup)
    assert verdict.result is Result.PERMERROR
    assert cause in verdict.cause


@pytest.mark.parametrize(
    ("identity", "flags", "result"),
    [
        (b"@news.customer.example", "t=s", Result.PERMERROR),
        (b"a@news.customer.example", "t=y:s", Result.PERMERROR),
        (b"@news.customer.example", "t=y", Result.PASS),
        (b"@customer.example", "t=s", Result.PASS),
        (None, "t=s", Result.PASS),
    ],
)
def test_case_072_a_key_for_the_domain_alone_signs_for_no_subdomain(
    identity: bytes | None, flags: str, result: Result
) -> None:
    with time_machine.travel(AT, tick=False):
        signature = dkim.sign(
            MESSAGE, b"sb1", b"customer.example", RSA_PEM, identity=identity
        )
        record = f"v=DKIM1; {flags}; p={RSA.p}"
        (verdict,) = verify(signature + MESSAGE, lambda _: record)
    assert verdict.result is result, verdict


def test_case_072_our_signatures_name_the_domain_itself() -> None:
    assert tags_of(signed_by_us(MESSAGE))["i"] == "@customer.example"


def test_case_067_an_rsa_sha1_signature_is_no_pass() -> None:  # RFC 8301 §3.1
    with time_machine.travel(AT, tick=False):
        signature = dkim.sign(
            MESSAGE,
            b"sb1",
            b"customer.example",
            RSA_PEM,
            signature_algorithm=b"rsa-sha1",
        )
        (verdict,) = verify(signature + MESSAGE, lookup)
        assert dkim.verify(signature + MESSAGE, dnsfunc=dns)  # dkimpy takes it
    assert (verdict.result, verdict.cause) == (
        Result.PERMERROR,
        "a=rsa-sha1 is obsolete",
    )


def test_case_073_dns_without_an_answer_is_a_temporary_error() -> None:
    def no_answer(name: str) -> str | None:
        raise TimeoutError(name)

    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signed_by_us(MESSAGE) + MESSAGE, no_answer)
    assert verdict.result is Result.TEMPERROR


def test_no_signature_no_verdict_and_an_odd_header_one_error() -> None:
    assert verify(MESSAGE, lookup) == ()
    assert [v.result for v in verify(b" odd\r\n" + MESSAGE, lookup)] == [
        Result.PERMERROR
    ]


def test_no_more_than_ten_signatures_are_looked_at() -> None:
    asked: list[str] = []

    def count(name: str) -> str | None:
        asked.append(name)
        return None

    with time_machine.travel(AT, tick=False):
        verdicts = verify(signed_by_us(MESSAGE) * 50 + MESSAGE, count)
    assert len(verdicts) == len(asked) == MAX_SIGNATURES


_TAGS = st.lists(
    st.sampled_from(
        [
            *(b"v=1", b"a=rsa-sha256", b"a=ed25519-sha256", b"b=QUJD", b"b=!"),
            *(b"bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", b"bh=QUJD="),
            *(b"c=relaxed/relaxed", b"c=odd", b"d=customer.example", b"d=\xff"),
            *(b"s=sb1", b"s=sb4", b"s=odd", b"h=from", b"h=", b"l=9", b"t=x", b"x=1"),
            *(b"q=z", b"i=@a", b"=", b""),
        ]
    ),
    max_size=14,
).map(b"; ".join)


@examples(600)
@given(_TAGS, st.sampled_from([dkim_txt(RSA.p, Algorithm.RSA), "p=QUJD", "k=x; p=A"]))
def test_verification_never_raises(tags: bytes, txt: str) -> None:
    content = b"DKIM-Signature: " + tags + b"\r\nFrom: a@b.example\r\n\r\n"
    for record in (lookup, lambda _: txt):
        (verdict,) = verify(content, record)
        assert verdict.result is not Result.PASS


def test_case_064_the_key_pair_of_rfc_8463_signs_and_verifies() -> (
    None
):  # its Appendix A.1
    seed = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    private = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" + seed
    key = load_signing_key(private, Algorithm.ED25519)
    txt = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    signed = signed_by_us(MESSAGE, key, named("brisbane")) + MESSAGE
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(signed, lambda _: txt)
    assert verdict.result is Result.PASS
