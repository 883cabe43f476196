"""The header as byte ranges: what is read, what is refused, what is cut."""

import email

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.errors import FormatError
from tests.examples import examples

MESSAGE = (
    b"From: a@x.example\r\n"
    b"SUBJECT: folded\r\n\tover\r\n  lines\r\n"
    b"Received: one\r\n"
    b"received:two\r\n"
    b"X-Empty:\r\n"
    b"\r\n"
    b"body\r\n\r\nmore\r\n"
)


def test_fields_are_found_with_their_folds() -> None:
    header = HeaderBlock.parse(MESSAGE)
    assert [field.name for field in header.fields] == [
        b"from",
        b"subject",
        b"received",
        b"received",
        b"x-empty",
    ]
    subject = header.named(b"subject")[0]
    assert header.raw(subject) == b"SUBJECT: folded\r\n\tover\r\n  lines\r\n"
    assert header.value(subject) == b" folded\r\n\tover\r\n  lines\r\n"
    assert header.body == b"body\r\n\r\nmore\r\n"
    assert [header.value(field) for field in header.named(b"received")] == [
        b" one\r\n",
        b"two\r\n",
    ]
    assert header.named(b"to") == ()


def test_fields_are_cut_octet_for_octet() -> None:
    header = HeaderBlock.parse(MESSAGE)
    assert header.without(frozenset({b"received", b"x-empty"})) == (
        b"From: a@x.example\r\nSUBJECT: folded\r\n\tover\r\n  lines\r\n"
    )
    assert header.without(frozenset()) + b"\r\n" + header.body == MESSAGE


@pytest.mark.parametrize(
    ("content", "fields", "body"),
    [
        (b"A: b\r\n", 1, b""),
        (b"A: b\r\n\r\n", 1, b""),
        (b"\r\nbody", 0, b"body"),
        (b"", 0, b""),
    ],
)
def test_a_missing_empty_line_or_header_leaves_an_empty_part(
    content: bytes, fields: int, body: bytes
) -> None:
    header = HeaderBlock.parse(content)
    assert (len(header.fields), header.body) == (fields, body)
    assert header.without(frozenset({b"a"})) == b""


@pytest.mark.parametrize(
    ("content", "word"),
    [
        # case 47
        (b" From: a@x.example\r\nFrom: b@y.example\r\n\r\n", "begins with white space"),
        (b"From: a@x.example\r\nFrom : b@y.example\r\n\r\n", "before the colon"),
        (
            b"From\r\n : a@x.example\r\nFrom: b@y.example\r\n\r\n",
            "line 1 of the header",
        ),
        (b"Subject: x\r\nno colon here\r\n\r\n", "line 2 of the header"),
        (b"From a@x.example Mon Jan 1\r\nFrom: a@x.example\r\n\r\n", "line 1"),
        (b": no name\r\n\r\n", "line 1"),
        (b"From\xc3\xa9: a\r\n\r\n", "line 1"),
        (b"From: a@x.example\nTo: b@y.example\r\n\r\n", "bare CR or LF"),
        (b"From: a@x.example\rTo: b@y.example\r\n\r\n", "bare CR or LF"),
        (b"From: a@x.example\n\r\n\r\n", "bare CR or LF"),
        (b"From: a@x.example", "does not end in CRLF"),
        (b"From: a@x.example\r\n body\r", "bare CR or LF"),
    ],
)
def test_case_047_an_ambiguous_header_is_refused_in_words(
    content: bytes, word: str
) -> None:
    with pytest.raises(FormatError, match=word):
        HeaderBlock.parse(content)


def test_case_047_two_from_fields_are_both_seen() -> None:
    header = HeaderBlock.parse(b"From: a@x.example\r\nfrom: b@y.example\r\n\r\n")
    assert len(header.named(b"from")) == 2


_OCTETS = st.lists(
    st.sampled_from(
        [
            b"From",
            b"To",
            b":",
            b" ",
            b"\t",
            b"\r\n",
            b"\r",
            b"\n",
            b"x",
            b"\x00",
            b"\xff",
        ]
    ),
    max_size=24,
).map(b"".join)


@examples(1_500)
@given(_OCTETS)
def test_an_accepted_header_is_read_alike_by_dkimpy_and_the_standard_library(
    content: bytes,
) -> None:
    try:
        header = HeaderBlock.parse(content)
    except FormatError:
        return
    theirs, body = dkim.rfc822_parse(content)
    assert [(f.name, header.value(f)) for f in header.fields] == [
        (name.lower(), value) for name, value in theirs
    ]
    if header.body.count(b"\n") == header.body.count(b"\r\n"):
        assert header.body == body
    parsed = email.message_from_bytes(content)
    assert [f.name.decode() for f in header.fields] == [
        name.lower()
        for name in parsed.keys()  # noqa: SIM118 - keeps repeated names
    ]


@given(_OCTETS)
def test_ranges_tile_the_header(content: bytes) -> None:
    try:
        header = HeaderBlock.parse(content)
    except FormatError:
        return
    assert b"".join(map(header.raw, header.fields)) == header.without(frozenset())
    end = header.fields[-1].end if header.fields else 0
    assert content[end : header.body_start] in (b"", b"\r\n")
