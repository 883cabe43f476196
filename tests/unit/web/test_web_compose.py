"""JSON as MIME: what was meant is what arrives, in 7-bit lines, and nothing more."""

import email
import re
from base64 import b64encode
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.submission.framing import check_framing
from soboo_mta.web.inject.answers import FieldError
from soboo_mta.web.inject.compose import composed, with_crlf
from soboo_mta.web.inject.model import message_of

HELLO: dict[str, Any] = {
    "from": "shop@acme.example",
    "to": "a@dest.example",
    "text": "x",
}


def made(**change: object) -> bytes:
    octets = composed(message_of(HELLO | change))
    check_framing(octets, mend_line_ends=False)  # CRLF alone, no NUL, no long line
    HeaderBlock.parse(octets)
    return octets


def read(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def names(octets: bytes) -> list[str]:
    return [name for name, _ in email.message_from_bytes(octets).items()]


def test_text_html_inline_images_and_files_make_the_usual_tree() -> None:
    octets = made(
        html='<img src="cid:logo">',
        attachments=[
            {
                "content": b64encode(b"\x89PNG").decode(),
                "content_type": "image/png",
                "content_id": "logo",
            },
            {"filename": "Rechnung für Jürgen.pdf", "content": "AAEC"},
            {
                "filename": 'a "quoted".csv',
                "content": b64encode("ä;b\n".encode()).decode(),
                "content_type": 'text/csv; charset="utf-8"',
            },
        ],
    )
    message = read(octets)
    assert octets.isascii()
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/octet-stream",
        "text/csv",
    ]
    image, pdf, csv = list(message.walk())[-3:]
    assert image["Content-ID"] == "<logo>"
    assert image.get_payload(decode=True) == b"\x89PNG"
    assert pdf.get_filename() == "Rechnung für Jürgen.pdf"
    assert pdf.get_payload(decode=True) == b"\0\1\2"
    assert (csv.get_filename(), csv.get_content()) == ('a "quoted".csv', "ä;b\n")


@pytest.mark.parametrize(
    ("change", "tree"),
    [
        ({}, ["text/plain"]),
        ({"text": None, "html": "<p>"}, ["text/html"]),
        ({"html": "<p>"}, ["multipart/alternative", "text/plain", "text/html"]),
        (
            {"attachments": [{"content": ""}]},
            ["multipart/mixed", "text/plain", "application/octet-stream"],
        ),
        (
            {"text": None, "attachments": [{"content": "", "content_id": "x"}]},
            ["multipart/mixed", "application/octet-stream"],
        ),
        (
            {
                "text": None,
                "html": "<p>",
                "attachments": [{"content": "", "content_id": "x"}],
            },
            ["multipart/related", "text/html", "application/octet-stream"],
        ),
    ],
)
def test_each_kind_of_message_has_its_tree(
    change: dict[str, object], tree: list[str]
) -> None:
    found = read(made(**change))
    assert [part.get_content_type() for part in found.walk()] == tree


def test_addresses_come_in_three_forms_and_bcc_in_no_header() -> None:
    octets = made(
        to=["a@dest.example", "Ann Example <ann@dest.example>"],
        cc={"address": "c@dest.example", "name": "Doe, John"},
        bcc=["secret@dest.example"],
        reply_to='"Help \\"Desk\\"" <help@dest.example>',
    )
    message = read(octets)
    assert [str(one) for one in message["To"].addresses] == [
        "a@dest.example",
        "Ann Example <ann@dest.example>",
    ]
    assert message["Cc"].addresses[0].display_name == "Doe, John"
    assert message["Reply-To"].addresses[0].display_name == 'Help "Desk"'
    assert b"secret" not in octets


def test_further_fields_stand_as_they_were_given() -> None:
    url = "https://acme.example/" + "u" * 300
    octets = made(
        headers={
            "List-Unsubscribe": f"<{url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "X-Tag": ["one", "zwölf"],
            "References": " ".join(f"<{n}@acme.example>" for n in range(40)),
        }
    )
    message = read(octets)
    assert message["List-Unsubscribe"] == f"<{url}>"
    assert message.get_all("X-Tag") == ["one", "zwölf"]
    assert str(message["References"]).split()[39] == "<39@acme.example>"


# ---- case 56

_BREAKS = ("\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028")
_PLACES: dict[str, Any] = {
    "from": lambda s: {"from": f"A{s}Bcc: x@y.example <shop@acme.example>"},
    "from.name": lambda s: {"from": {"address": "shop@acme.example", "name": f"A{s}B"}},
    "from.address": lambda s: {"from": {"address": f"shop@acme.example{s}X: y"}},
    "to": lambda s: {"to": [f"a@dest.example{s}Bcc: x@y.example"]},
    "reply_to": lambda s: {"reply_to": f"N{s}X: y <a@dest.example>"},
    "subject": lambda s: {"subject": f"Hi{s}Bcc: x@y.example"},
    "header": lambda s: {"headers": {"X-Tag": f"a{s}Bcc: x@y.example"}},
    "header name": lambda s: {"headers": {f"X-Tag{s}Bcc": "x@y.example"}},
    "filename": lambda s: {"attachments": [{"content": "", "filename": f"a{s}X: y"}]},
    "type": lambda s: {"attachments": [{"content": "", "content_type": f"a/b{s}X: y"}]},
    "content id": lambda s: {"attachments": [{"content": "", "content_id": f"a{s}X"}]},
}


@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("separator", _BREAKS, ids=ascii)
def test_case_056_a_line_end_in_a_field_is_refused(place: str, separator: str) -> None:
    with pytest.raises(FieldError):
        made(**_PLACES[place](separator))


@pytest.mark.parametrize(
    "word", ["=?utf-8?q?a=0D=0ABcc:_x?=", "=?utf-8?b?YQ0KQmNjOiB4?="]
)
def test_case_056_an_encoded_line_end_begins_no_field(word: str) -> None:
    octets = made(
        **{
            "from": {"address": "shop@acme.example", "name": word},
            "subject": word,
            "headers": {"X-Tag": word},
            "attachments": [{"content": "", "filename": word}],
        }
    )
    assert "Bcc" not in names(octets)
    message = read(octets)
    assert message["Subject"] == word  # what was given is what is shown
    assert message["From"].addresses[0].display_name == word


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
_LINE = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=120
)


@given(subject=_LINE, name=_LINE, tag=_LINE, filename=_LINE)
def test_case_056_no_text_makes_a_field(
    subject: str, name: str, tag: str, filename: str
) -> None:
    octets = made(
        **{
            "from": {"address": "shop@acme.example", "name": name},
            "subject": subject,
            "headers": {"X-Tag": tag},
            "attachments": [{"content": "", "filename": filename}],
        }
    )
    assert octets.isascii()
    assert set(names(octets)) <= {
        "From",
        "To",
        "Subject",
        "X-Tag",
        "MIME-Version",
        "Content-Type",
    }
    message = read(octets)
    assert message["From"].addresses[0].addr_spec == "shop@acme.example"
    assert " ".join(str(message["Subject"] or "").split()) == " ".join(subject.split())


@given(_TEXT)
def test_any_text_arrives_as_it_was_given(text: str) -> None:
    text = text.replace("\0", "")
    octets = made(text=text, html=text)
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    for part in read(octets).iter_parts():
        got = part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        assert lines(got) == lines(text)


def lines(text: str) -> list[str]:
    """Line ends are normalised, one is added at the end."""
    return re.split(r"\r\n|\r|\n", text.rstrip("\r\n"))


@given(st.binary(max_size=500))
def test_any_file_arrives_as_it_was_given(content: bytes) -> None:
    octets = made(attachments=[{"content": b64encode(content).decode()}])
    (part,) = read(octets).iter_attachments()
    assert part.get_payload(decode=True) == content


@given(_LINE)
def test_any_file_name_arrives_as_it_was_given(name: str) -> None:
    name = name.strip()
    octets = made(attachments=[{"content": "", "filename": name}])
    (part,) = read(octets).iter_attachments()
    got = part.get_filename()
    assert (" ".join(got.split()) if got else "") == " ".join(name.split())


def test_a_long_file_name_fits_a_line_or_is_refused() -> None:
    for name in ("ü" * 127, "x" * 255, "\U0001f4c4" * 63):
        (part,) = read(
            made(attachments=[{"content": "", "filename": name}])
        ).iter_attachments()
        assert part.get_filename() == name
    with pytest.raises(FieldError):
        made(attachments=[{"content": "", "filename": "ü" * 128}])


def test_each_text_has_the_encoding_that_suits_it() -> None:
    for text, encoding in (
        ("Plain.\n", "7bit"),
        ("Viele Grüße aus dem hohen Norden, mit gutem Käse.\n" * 5, "quoted-printable"),
        ("x" * 77, "quoted-printable"),
        ("Привет, мир\n", "base64"),
    ):
        assert read(made(text=text))["Content-Transfer-Encoding"] == encoding


def test_only_a_message_with_lf_alone_is_mended() -> None:
    assert with_crlf(b"a\nb\n") == b"a\r\nb\r\n"
    assert with_crlf(b"a\r\nb\n") == b"a\r\nb\n"
