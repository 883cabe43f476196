"""Relaxed canonical forms: equal to dkimpy's, and to the RFC's own example."""

from base64 import b64encode

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.canonical import body_hash, relaxed_body, relaxed_header
from tests.examples import examples

_PIECES = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b" " * 9, b"\r\n" * 3, b"\x0b\xff"]
    ),
    max_size=30,
).map(b"".join)


@examples(2_000)
@given(_PIECES)
def test_the_body_equals_dkimpys(body: bytes) -> None:
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@examples(1_000)
@given(st.sampled_from([b"From", b"X-Y ", b"SUBJECT"]), _PIECES)
def test_a_field_equals_dkimpys(name: bytes, value: bytes) -> None:
    ((theirs_name, theirs_value),) = Relaxed.canonicalize_headers([(name, value)])
    assert relaxed_header(name, value) == theirs_name + b":" + theirs_value


def test_case_064_the_example_of_the_rfc() -> None:  # RFC 6376 §3.4.5
    assert relaxed_header(b"A", b" X\r\n") == b"a:X\r\n"
    assert relaxed_header(b"B ", b" Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \r\n\t\r\n"])
def test_case_064_an_empty_body_hashes_as_no_octets(
    body: bytes,
) -> None:  # RFC 6376 §3.4.4
    assert relaxed_body(body) == b""
    assert b64encode(body_hash(body)) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_long_runs_of_blank_lines_are_cut_whole() -> None:
    assert relaxed_body(b"x" + b"\r\n" * 2_000_000) == b"x\r\n"
    assert relaxed_body(b"\r\n" * 2_000_001) == b""
