"""What goes home is a message that any host takes, whoever wrote what came back."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.forwarded.answer import answer
from soboo_mta.formats.forwarded.attached import attached, is_plain
from soboo_mta.formats.forwarded.frame import Frame, has_mark
from soboo_mta.formats.forwarded.wrapped import wrapped
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId

FRAME = Frame(
    forward_id=MessageId(7 << 22),
    domain=Domain("esp.example"),
    to=parse_mailbox("app@customer.com"),
    made_at=datetime(2029, 1, 1, tzinfo=UTC),
    is_automatic=False,
)


def written(author: str, **fields: str) -> bytes:
    head = {"From": author, **fields}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    return "\r\n".join([*lines, "", "Hello", ""]).encode()


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("bob@there.example", "bob@there.example (via esp.example)"),
        ("Bob <bob@there.example>", "Bob (via esp.example)"),
        ('"Doe, \\"B\\"" <bob@there.example>', 'Doe, "B" (via esp.example)'),
        ("=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <a@b.example>", None),
        (
            "=?utf-8?q?a=0D=0AX-Evil=3A_1?= <a@b.example>",
            "a X-Evil: 1 (via esp.example)",
        ),
        ("=?nonsense?q?a?= <a@b.example>", "=?nonsense?q?a?= (via esp.example)"),
        (f"{'N' * 500} <a@b.example>", f"{'N' * 56} ... (via esp.example)"),
    ],
)
def test_the_author_is_named_and_the_operator_is_the_author(
    author: str, name: str | None
) -> None:
    made = answer(written(author), FRAME)
    found = email.message_from_bytes(made)
    said, address = parseaddr(found["From"].replace("\r\n", ""))
    assert address == "replies@esp.example"
    shown = str(make_header(decode_header(said))) if "utf-8" in said else said
    assert shown == (name or "Müller, Jörg (via esp.example)")
    assert found["X-Evil"] is None
    assert made.split(b"\r\n\r\n")[0].isascii()


@pytest.mark.parametrize(
    ("said", "goes_to"),
    [
        ({}, "a@b.example"),
        ({"Reply_To": "Desk <desk@b.example>"}, "desk@b.example"),
        ({"Reply_To": "x@y.example, z@y.example"}, "a@b.example"),
        ({"Reply_To": "undisclosed:;"}, "a@b.example"),
    ],
)
def test_an_answer_to_it_goes_where_the_person_wants_it(
    said: dict[str, str], goes_to: str
) -> None:
    made = answer(written("A <a@b.example>", **said), FRAME)
    assert email.message_from_bytes(made)["Reply-To"] == f"<{goes_to}>"


def test_a_long_thread_keeps_its_first_and_its_last() -> None:
    ids = [f"<{number}.{'x' * 60}@there.example>" for number in range(40)]
    content = written("a@b.example", References="\r\n ".join(ids), Message_ID="<z@y.c>")
    kept = email.message_from_bytes(answer(content, FRAME))["References"].split()
    assert (kept[0], kept[-2:]) == (ids[0], [ids[-1], "<z@y.c>"])
    assert len(" ".join(kept)) < 998


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: nobody\r\n\r\nHello\r\n",
        written("a@b.example, c@d.example"),
        b"From: a@b.example\r\n" + written("c@d.example"),
        written("a@b.example", Content_Type="text/plain") + b"x" * 999,
        b"no header at all",
        b"",
    ],
)
def test_what_leaves_doubt_is_not_sent_as_it_is(content: bytes) -> None:
    with pytest.raises(FormatError):
        answer(content, FRAME)


def test_what_bears_the_mark_is_known_again() -> None:
    made = answer(written("a@b.example"), FRAME)
    assert has_mark(made, FRAME.domain)
    assert has_mark(b"x-loop:  REPLIES@ESP.example\r\n\r\n", FRAME.domain)
    assert not has_mark(made, Domain("other.example"))
    assert not has_mark(b"Subject: a\r\n\r\nX-Loop: replies@esp.example", FRAME.domain)


_LINES = st.lists(
    st.sampled_from(
        [
            b"From: A <a@b.example>\r\n",
            b"Subject: one\r\n",
            b" folded\r\n",
            b"Content-Type: text/plain\r\n",
            b"\r\n",
            b"--=_0000000e00000\r\n",
            b"\r",
            b"\n",
            b"\0",
            "ü\r\n".encode(),
            b"y" * 1_000,
            b"References: <a@b> <\r\n",
        ]
    ),
    max_size=8,
)


@given(st.one_of(st.binary(max_size=200), _LINES.map(b"".join)))
def test_whatever_came_back_something_goes_that_a_host_takes(content: bytes) -> None:
    frame = replace(FRAME, is_automatic=True)
    made = [wrapped(content, "It came back.", frame, limit=100)]
    try:
        made.append(answer(content, frame))
    except FormatError:
        assert attached(content, limit=10_000)
    for one in made:
        assert is_plain(one)
        assert one.endswith(b"\r\n")
        header = HeaderBlock.parse(one)
        for name in (b"from", b"to", b"date", b"message-id", b"x-loop"):
            assert len(header.named(name)) == 1
