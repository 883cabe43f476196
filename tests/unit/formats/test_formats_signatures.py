"""Signatures of strangers: judged as dkimpy judges them, in bounded time, by strict keys."""

import re
import time
from base64 import b64encode
from hashlib import sha256

import dkim
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats import canonical
from soboo_mta.formats.authentication.results import Result, SignatureVerdict
from soboo_mta.formats.authentication.signatures import (
    MAX_HEADER,
    MAX_SIGNATURES,
    SignedMessage,
    verify,
)
from soboo_mta.formats.authentication.tags import MAX_SIGNATURE
from soboo_mta.formats.canonical import relaxed_body_hash, simple_body_hash
from soboo_mta.formats.keys import Algorithm, dkim_txt
from tests.examples import examples
from tests.unit.formats.dkimpy_reference import (
    AT,
    CUSTOMER,
    ED25519_KEY,
    RSA,
    RSA_PEM,
    Names,
    signed_by_us,
    signed_with_b_inside,
)

MESSAGE = (
    b"From: a@customer.example\r\nTo: b@x.example\r\nSubject: one\r\n two\r\n"
    b"X-Test: x\r\nX-Test: y\r\n\r\nhello  world \r\nbye\r\n\r\n"
)
RECORD = dkim_txt(RSA.p, Algorithm.RSA)
_FORMS = (b"simple", b"relaxed")


def signed(content: bytes = MESSAGE, **options: object) -> bytes:
    """`content` under a signature by dkimpy."""
    chosen = {"include_headers": [b"from", b"to", b"subject", b"x-test"], **options}
    with time_machine.travel(AT, tick=False):
        return (
            dkim.sign(content, b"sb1", b"customer.example", RSA_PEM, **chosen) + content
        )


def judged(content: bytes, record: str | None = RECORD) -> SignatureVerdict:
    with time_machine.travel(AT, tick=False):
        (verdict,) = verify(content, lambda _: record)
    return verdict


# ---- equal to dkimpy


_PIECES = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b" " * 5, b"\r\n" * 3, b"\xff\x0b"]
    ),
    max_size=40,
).map(b"".join)


@examples(2_000)
@given(body=_PIECES, piece=st.integers(1, 9))
def test_a_body_hashed_in_pieces_equals_dkimpys(body: bytes, piece: int) -> None:
    normal = b"\r\n".join(re.split(b"\r?\n", body))
    kept = canonical._PIECE
    canonical._PIECE = piece
    try:
        relaxed, simple = relaxed_body_hash(b"xx" + body, 2), simple_body_hash(body)
    finally:
        canonical._PIECE = kept
    for ours, theirs in ((relaxed, Relaxed), (simple, Simple)):
        text = theirs.canonicalize_body(normal)
        assert (ours.digest, ours.length) == (sha256(text).digest(), len(text))


@examples(300)
@given(
    header=st.sampled_from(_FORMS),
    body=st.sampled_from(_FORMS),
    value=_PIECES.map(lambda octets: re.sub(rb"[\r\n]+", b"\r\n ", octets)),
    content=_PIECES,
    change=st.sampled_from(
        [(b"", b""), (b"Subject: ", b"Subject:  "), (b"From", b"from"), (b"X", b"Y")]
    ),
)
def test_verdicts_equal_dkimpys(
    header: bytes,
    body: bytes,
    value: bytes,
    content: bytes,
    change: tuple[bytes, bytes],
) -> None:
    message = b"From: a@x.example\r\nSubject: " + value + b"\r\n\r\nX" + content
    good = signed(message, canonicalize=(header, body))
    changed = good.replace(*change)
    for octets in (good, changed, changed.replace(b"\r\n", b"\n")):
        with time_machine.travel(AT, tick=False):
            theirs = _dkimpys(octets)
        assert (judged(octets).result is Result.PASS) == theirs, octets


def _dkimpys(content: bytes) -> bool:
    try:
        return dkim.verify(content, dnsfunc=lambda *_, **__: RECORD.encode())
    except dkim.DKIMException:
        return False


@pytest.mark.parametrize("form", _FORMS)
def test_the_value_of_b_is_taken_out_with_the_white_space_round_it(form: bytes) -> None:
    """RFC 6376 §3.5: where b= is not the last tag, dkimpy hashes what follows its value."""
    octets = signed_with_b_inside(MESSAGE, CUSTOMER, form) + MESSAGE
    assert judged(octets).result is Result.PASS
    assert not _dkimpys(octets)


# ---- what is no proof


def test_a_body_that_l_leaves_open_proves_nothing() -> None:
    octets = signed(length=True)
    assert judged(octets).result is Result.PASS
    assert judged(octets + b"buy this\r\n").result is Result.POLICY
    cut = octets.replace(b"bye\r\n\r\n", b"")
    assert (judged(cut).result, judged(cut).cause) == (
        Result.FAIL,
        "the body is shorter than its l=",
    )


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ("h=sha256", Result.PASS),
        ("h=sha1 : sha256", Result.PASS),
        ("h=sha1", Result.PERMERROR),
        ("s=email", Result.PASS),
        ("s=other:*", Result.PASS),
        ("s=other", Result.PERMERROR),
        ("s=tlsrpt", Result.PERMERROR),
        ("k=ed25519", Result.PERMERROR),
        ("k=rsa; n=a note", Result.PASS),
        ("v=DKIM2", Result.PERMERROR),
    ],
)
def test_a_key_is_for_what_it_says(tags: str, result: Result) -> None:
    assert judged(signed(), f"{tags}; p={RSA.p}").result is result


def test_a_key_for_tls_reports_signs_tls_reports() -> None:
    report = b"TLS-Report-Domain: customer.example\r\n" + MESSAGE
    assert judged(signed(report), f"s=tlsrpt; p={RSA.p}").result is Result.PASS


def test_a_signature_must_cover_from() -> None:
    octets = signed().replace(b"h=from : ", b"h=", 1)
    assert judged(octets).cause == "its h= leaves out From"


def test_a_second_from_is_not_covered() -> None:
    verdict = judged(b"From: ceo@bank.example\r\n" + signed())
    assert verdict.result is Result.FAIL


@pytest.mark.parametrize("bits", [768, 1_023, 4_097, 65_536])
def test_a_key_of_another_size_does_not_count(bits: int) -> None:  # RFC 8301 §3.2
    key = rsa.RSAPublicNumbers(65_537, (1 << (bits - 1)) + 1).public_key()
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    verdict = judged(signed(), f"p={b64encode(der).decode()}")
    assert verdict.result is Result.PERMERROR
    assert f"{bits} bits" in verdict.cause


@pytest.mark.parametrize("name", ["d=customer..example", "d=localhost", "s=\xff"])
def test_a_name_that_is_none_is_not_looked_up(name: str) -> None:
    tag = name.encode("latin-1")
    octets = re.sub(rb"\bi=[^;]+; ", b"", signed())
    octets = re.sub(rb"\b%b=[^;]+" % tag[:1], lambda _: tag, octets, count=1)
    assert SignedMessage.read(octets).key_names() == ()
    assert judged(octets).result is Result.PERMERROR


def test_what_a_signature_claims_is_told_where_it_fails_too() -> None:
    verdict = judged(signed(), None)
    assert (verdict.domain, verdict.selector) == ("customer.example", "sb1")
    assert (verdict.algorithm, len(verdict.b)) == ("rsa-sha256", 8)
    assert verdict.cause == "no key is published at sb1._domainkey.customer.example"


def test_the_names_of_keys_are_known_before_anything_is_hashed() -> None:
    other = signed_by_us(MESSAGE, ED25519_KEY, Names(CUSTOMER.domain, "sb4"))
    message = SignedMessage.read(other + other + signed())
    assert message.key_names() == (
        "sb4._domainkey.customer.example",
        "sb1._domainkey.customer.example",
    )


# ---- hostile


def _hostile(**tags: bytes) -> bytes:
    """A signature that only the last check refuses."""
    found = {
        b"v": b"1",
        b"a": b"rsa-sha256",
        b"c": b"relaxed/relaxed",
        b"d": b"customer.example",
        b"s": b"sb1",
        b"h": b"from",
        b"bh": b"n4MM33j6nnVmxC2uGS5rEtxHP6dH1vTCdKHQIAhRvrU=",  # of "hi"
        b"b": b"AAAA",
    }
    found |= {name.encode(): value for name, value in tags.items()}
    return (
        b"DKIM-Signature: " + b"; ".join(b"%b=%b" % t for t in found.items()) + b"\r\n"
    )


_FROM = b"From: a@customer.example\r\n"
_NAMES = b":".join(b"x%d" % number for number in range(2_500)) + b":from"
_FIELDS = b"".join(b"y%d:\r\n" % number for number in range(30_000))


@pytest.mark.parametrize(
    ("signatures", "header", "body"),
    [
        pytest.param(_hostile() * 1_000, _FROM, b"hi\r\n", id="1,000 signatures"),
        pytest.param(_hostile(b=b"A" * 400_000), _FROM, b"hi\r\n", id="too large"),
        pytest.param(_hostile(b=b"A" * 15_000) * 10, _FROM, b"hi\r\n", id="large b="),
        pytest.param(
            _hostile(b=b"A" + b"\r\n " * 5_000 + b"!") * 10,
            _FROM,
            b"hi\r\n",
            id="folds",
        ),
        pytest.param(
            _hostile(h=b"from" + b" " * 15_000 + b"!") * 10,
            _FROM,
            b"hi\r\n",
            id="space",
        ),
        pytest.param(_hostile(q=b";" * 15_000) * 10, _FROM, b"hi\r\n", id="semicolons"),
        pytest.param(_hostile(x=b"9" * 15_000) * 10, _FROM, b"hi\r\n", id="digits"),
        pytest.param(
            _hostile(h=_NAMES) * 10, _FROM + _FIELDS[:100_000], b"hi\r\n", id="names"
        ),
        pytest.param(
            _hostile() * 10,
            _FROM[:-2] + b"\r\n " * 60_000 + b"x\r\n",
            b"hi\r\n",
            id="From",
        ),
        pytest.param(_hostile() * 10, _FROM, b" " * 4_000_000 + b"x", id="spaces"),
        pytest.param(_hostile() * 10, _FROM, b"\r\n" * 2_000_000 + b"x", id="lines"),
        pytest.param(_hostile() * 10, _FROM, b" \r" * 8_000_000, id="bare CR"),
        pytest.param(b"", b"x" * 4_000_000, b"", id="no header"),
    ],
)
def test_no_message_takes_long(signatures: bytes, header: bytes, body: bytes) -> None:
    """dkimpy itself takes minutes for some of these. A hundred times what each should."""
    content = signatures + header + b"\r\n" + body
    began = time.process_time()
    verdicts = verify(content, lambda _: RECORD)
    assert time.process_time() - began < 5
    assert 1 <= len(verdicts) <= MAX_SIGNATURES
    assert all(one.result in (Result.FAIL, Result.PERMERROR) for one in verdicts)


def test_the_bounds_are_told() -> None:
    large = _hostile(z=b"x" * MAX_SIGNATURE) + _FROM + b"\r\n"
    assert judged(large).cause == f"the signature is over {MAX_SIGNATURE} octets"
    long = b"X: " + b"y" * MAX_HEADER + b"\r\n\r\n"
    assert judged(long).cause == f"the header is over {MAX_HEADER} octets"


@examples(500)
@given(content=st.binary(max_size=300), record=st.text(max_size=80))
def test_any_octets_and_any_key_have_verdicts(content: bytes, record: str) -> None:
    verify(content, lambda _: record)
    verify(_hostile(h=content, i=content) + content, lambda _: record)


_GOOD = signed()


@examples(500)
@given(st.data())
def test_no_changed_octet_passes_unseen(data: st.DataObject) -> None:
    """In what is signed: a change is a failure, whatever it is made of."""
    start = _GOOD.index(b"From: ")
    place = data.draw(st.integers(start, len(_GOOD) - 1))
    put = data.draw(st.binary(min_size=1, max_size=3))
    changed = _GOOD[:place] + put + _GOOD[place + 1 :]
    verdicts = verify(changed, lambda _: RECORD)
    with time_machine.travel(AT, tick=False):
        same = _dkimpys(changed)
    for verdict in verdicts:
        assert (verdict.result is Result.PASS) <= same
