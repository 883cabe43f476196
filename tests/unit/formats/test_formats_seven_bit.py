"""8-bit messages for 7-bit hops: what is touched, what is not, and what cannot be done."""

import contextlib
import email
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.mime.seven_bit import NoVariant, seven_bit
from tests.examples import examples

TOP = (
    b"Received: by us\r\nFrom: Ann <ann@customer.example>\r\n"
    b"Subject:  folded\r\n\tand odd \r\nMIME-Version: 1.0\r\n"
)
BUSY = "this was a déjà vu in the naïve café around the corner"
DENSE = "Съешь же ещё этих мягких французских булок"


def octets(text: str) -> bytes:
    return text.encode()


def leaves(content: bytes) -> list[tuple[str, bytes]]:
    """What a reader is shown: each leaf's type and decoded body, by Python's parser."""
    found = []
    for part in email.message_from_bytes(content).walk():
        if not part.is_multipart():
            found.append((part.get_content_type(), part.get_payload(decode=True)))
    return found


def a_leaf(kind: bytes, body: bytes, *fields: bytes) -> bytes:
    head = b"".join(field + b"\r\n" for field in fields)
    return b"Content-Type: " + kind + b"\r\n" + head + b"\r\n" + body


def a_multipart(*parts: bytes, boundary: bytes = b"bb", fields: bytes = b"") -> bytes:
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n' + fields
    body = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts)
    return head + b"\r\nThe preamble.\r\n" + body + b"--" + boundary + b"--\r\nend\r\n"


def test_a_text_becomes_quoted_printable_and_nothing_else_changes():
    body = octets(f"Hello,\r\n.\r\n{BUSY}, {'long ' * 30}=\r\ntrailing \t\r\n")
    leaf = a_leaf(
        b"text/plain; charset=utf-8", body, b"Content-Transfer-Encoding: 8bit"
    )
    made = seven_bit(TOP + leaf)
    assert made.isascii()
    assert made.startswith(
        TOP + b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nHello,\r\n"
    )
    assert max(map(len, made.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    assert leaves(made) == [("text/plain", body)]


def test_text_that_is_mostly_8_bit_becomes_base64():
    body = octets(DENSE + "\r\n") * 20
    made = seven_bit(TOP + a_leaf(b"text/plain; charset=utf-8", body))
    assert b"Content-Transfer-Encoding: base64\r\n\r\n" in made
    assert len(made) < 2 * len(body)
    assert leaves(made) == [("text/plain", body)]


def test_what_is_no_text_becomes_base64():
    body = bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"") * 3 + b"\r\n"
    made = seven_bit(TOP + a_leaf(b"application/octet-stream", body))
    assert b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" in made
    assert leaves(made) == [("application/octet-stream", body)]


def test_in_a_multipart_only_8_bit_parts_and_labels_of_what_holds_them_change():
    plain = a_leaf(
        b"text/plain",
        b"As it is =C3.\r\n \t\r\n",
        b"X-Odd:  spaces ",
        b"Content-Transfer-Encoding: 7BIT",
    )
    html = a_leaf(
        b"text/html; charset=utf-8",
        octets(f"<p>{BUSY}</p>"),
        b"Content-Transfer-Encoding: 8bit",
    )
    label = b"Content-Transfer-Encoding: 8bit\r\n"
    before = TOP + a_multipart(plain, html, fields=label)
    after = seven_bit(before)
    expected = before.replace(label, b"Content-Transfer-Encoding: 7bit\r\n", 1)
    head, found, rest = expected.partition(html)
    assert found
    assert after.startswith(head)
    assert after.endswith(rest)
    changed = after[len(head) : len(after) - len(rest)]
    assert changed == (
        b"Content-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"<p>this was a d=C3=A9j=C3=A0 vu in the na=C3=AFve caf=C3=A9 around the corn=\r\ner</p>"
    )
    assert leaves(after) == leaves(before)


def test_a_message_without_mime_says_what_its_text_must_be():
    made = seven_bit(b"From: a@b.example\r\n\r\n" + octets(BUSY) + b"\r\n")
    assert made.startswith(
        b"From: a@b.example\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    made = seven_bit(b"From: a@b.example\r\n\r\ncaf\xe9\r\n")
    assert b"charset=unknown-8bit\r\n" in made
    assert leaves(made) == [("text/plain", b"caf\xe9\r\n")]


def test_a_soft_line_break_never_makes_a_delimiter():
    """75 columns, and then what a reader would take for the part's end."""
    body = octets("é") + b"x" * 69 + b"--bb--\r\nstill here\r\n"
    made = seven_bit(TOP + a_multipart(a_leaf(b"text/plain; charset=utf-8", body)))
    assert leaves(made) == [("text/plain", body)]


def test_quoted_printable_with_raw_octets_is_quoted_as_it_is_read():
    body = octets("caf=C3=A9 " + "é" * 40 + " soft=\r\nbreak\r\n")
    leaf = a_leaf(b"text/plain", body, b"Content-Transfer-Encoding: Quoted-Printable")
    made = seven_bit(TOP + leaf)
    assert b"Quoted-Printable\r\n" in made
    assert leaves(made) == leaves(TOP + leaf)
    assert max(map(len, made.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76


def test_an_attached_message_is_changed_inside_and_never_encoded_itself():
    inner = b"From: x@y.example\r\nContent-Type: text/plain\r\n\r\n" + octets(BUSY)
    outer = a_leaf(b"message/rfc822", inner, b"Content-Transfer-Encoding: 8bit")
    made = seven_bit(TOP + a_multipart(outer))
    attached = email.message_from_bytes(made).get_payload(0)
    assert isinstance(attached, Message)
    assert attached["Content-Transfer-Encoding"] == "7bit"
    assert attached.get_payload(0)["MIME-Version"] == "1.0"
    assert leaves(made) == [("text/plain", octets(BUSY))]


def test_in_a_digest_a_part_without_type_is_a_message():
    inner = b"\r\nFrom: x@y.example\r\n\r\n" + octets(BUSY)
    digest = a_multipart(inner).replace(b"multipart/mixed", b"multipart/digest")
    made = seven_bit(TOP + digest)
    assert leaves(made)[-1] == ("text/plain", octets(BUSY))


def test_8_bit_octets_outside_the_parts_are_replaced_for_no_reader_shows_them():
    before = TOP + a_multipart(a_leaf(b"text/plain", b"plain")).replace(
        b"The preamble.", octets("Un message à parties")
    )
    assert seven_bit(before) == before.replace(octets("à"), b"??")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"Subject: caf\xe9\r\n\r\nx\r\n", "5.6.7", "header"),
        (
            TOP + a_multipart(a_leaf(b"text/plain; name=caf\xe9", b"x")),
            "5.6.7",
            "header",
        ),
        (
            TOP
            + a_multipart(a_leaf(b"text/plain", b"\xe9")).replace(b"mixed", b"signed"),
            "5.6.3",
            "multipart/signed",
        ),
        (
            TOP
            + a_leaf(
                b"message/rfc822",
                b"DKIM-Signature: v=1\r\nFrom: a@b.example\r\n\r\n\xe9\r\n",
            ),
            "5.6.3",
            "DKIM",
        ),
        (TOP + a_leaf(b"message/partial; id=1", b"\xe9\r\n"), "5.6.3", "partial"),
        (
            TOP + a_leaf(b"message/delivery-status", b"\xe9\r\n"),
            "5.6.3",
            "delivery-status",
        ),
        (
            TOP + a_leaf(b"image/png", b"\xe9", b"Content-Transfer-Encoding: base64"),
            "5.6.3",
            "base64",
        ),
        (TOP + a_leaf(b"multipart/mixed", b"\xe9"), "5.6.3", "multipart"),
        (
            TOP + b"Content-Type: text/plain\r\n" + a_leaf(b"text/html", b"\xe9"),
            "5.6.3",
            "two",
        ),
    ],
)
def test_case_021_028_what_has_no_7_bit_form_says_why(content, status, words):
    with pytest.raises(NoVariant, match=words) as refused:
        seven_bit(content)
    assert refused.value.status == status


def test_a_signed_part_that_is_7_bit_stays_octet_for_octet():
    signed = a_multipart(
        a_leaf(b"text/plain", b"x", b"Content-Transfer-Encoding: 8bit"), boundary=b"s"
    ).replace(b"mixed", b"signed")
    before = TOP + a_multipart(signed, a_leaf(b"text/plain", b"caf\xe9"))
    assert signed in seven_bit(before)


def test_nesting_without_end_is_refused_before_it_costs_much():
    nested = a_leaf(b"text/plain", b"\xe9")
    for level in range(30):
        nested = a_multipart(nested, boundary=b"b%d" % level)
    with pytest.raises(NoVariant, match="too deep"):
        seven_bit(TOP + nested)


_lines = st.lists(
    st.text(
        st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]),
        max_size=200,
    ),
    max_size=6,
).map(lambda lines: "\r\n".join(lines).encode())
_kinds = st.sampled_from(
    [b"text/plain; charset=utf-8", b"text/html", b"application/octet-stream"]
)
_labels = st.sampled_from([(), (b"Content-Transfer-Encoding: 8bit",)])


@st.composite
def _entities(draw: st.DrawFn, depth: int = 0) -> bytes:
    kinds = ["leaf"] if depth > 3 else ["leaf", "multipart", "message"]
    match draw(st.sampled_from(kinds)):
        case "leaf":
            body = draw(_lines)
            return a_leaf(draw(_kinds), body, *draw(_labels))
        case "message":
            inner = b"From: x@y.example\r\n" + draw(_entities(depth + 1))
            return a_leaf(b"message/rfc822", inner, *draw(_labels))
    parts = draw(st.lists(_entities(depth + 1), min_size=1, max_size=3))
    boundary = b"-b%d" % draw(st.integers(0, 10**9))
    return a_multipart(*parts, boundary=boundary)


@examples(200)
@given(_entities())
def test_case_028_any_message_reads_the_same_in_7_bits(entity: bytes):
    content = TOP + entity
    made = seven_bit(content)
    assert made.isascii()
    assert made.count(b"\r\n") == made.count(b"\n") == made.count(b"\r")
    assert leaves(made) == leaves(content)
    assert all(
        a == b
        for a, b in zip(made.split(b"\r\n"), TOP.split(b"\r\n")[:-1], strict=False)
    )
    assert seven_bit(made) == made


@examples(300)
@given(st.binary(max_size=400))
def test_whatever_it_is_it_is_made_7_bit_or_refused(noise: bytes):
    noise = noise.replace(b"\r", b"").replace(b"\n", b"\r\n")
    for content in (noise, TOP + a_multipart(noise), TOP + a_leaf(b"text/x", noise)):
        with contextlib.suppress(NoVariant):
            assert seven_bit(content).isascii()
