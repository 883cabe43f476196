"""Messages in memory: bounds, finding, waiting; and what is read out of hostile ones."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.lab.content import Content
from soboo_mta.lab.mailbox import Mailbox, MailboxOptions, Query
from soboo_mta.lab.record import MessageRecord, Verdict
from tests.examples import examples

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(to: str = "bob@dest.test", size: int = 10) -> MessageRecord:
    return MessageRecord(
        received_at=_AT,
        peer="127.0.0.1",
        sink="127.0.0.1",
        helo="out.test",
        tls=False,
        mail_from="b@bounce.shop.test",
        rcpt_to=(to,),
        size=size,
        verdict=Verdict(),
    )


def octets(subject: str = "Hi", body: str = "Hello") -> bytes:
    return f"From: Ann <ann@shop.test>\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


def test_the_oldest_goes_when_there_are_too_many():
    box = Mailbox(MailboxOptions(messages=2))
    for _ in range(3):
        box.add(record(), octets())
    assert [one.number for one in box.find(Query())] == [3, 2]
    assert box.get(1) is None
    assert box.dropped == 1


def test_the_oldest_goes_when_they_are_too_big_but_the_last_stays():
    box = Mailbox(MailboxOptions(octets=100))
    box.add(record(), b"x" * 60)
    box.add(record(), b"x" * 60)
    box.add(record(), b"x" * 600)
    assert [one.number for one in box.find(Query())] == [3]
    assert box.octets == 600


def test_what_was_deleted_gives_its_room_back_and_its_number_never():
    box = Mailbox(MailboxOptions())
    box.add(record(), octets())
    assert box.remove([1, 1, 7]) == 1
    assert (len(box), box.octets, box.dropped) == (0, 0, 0)
    assert box.add(record(), octets()).number == 2
    assert box.clear() == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(to="BOB@"), [1]),
        (Query(sender="ann@shop"), [2, 1]),
        (Query(sender="bounce.shop.test"), [2, 1]),
        (Query(subject="grüße"), [2]),
        (Query(text="eve"), [2]),
        (Query(text="nobody"), []),
        (Query(since=_AT, until=_AT), [2, 1]),
        (Query(since=datetime(2026, 1, 2, tzinfo=UTC)), []),
        (Query(after=1), [2]),
    ],
)
def test_a_query_finds_by_envelope_header_and_time(query, found):
    box = Mailbox(MailboxOptions())
    box.add(record(), octets())
    box.add(record("eve@dest.test"), octets("=?utf-8?q?Gr=C3=BC=C3=9Fe?="))
    assert [one.number for one in box.find(query)] == found


async def test_waiting_ends_with_the_message_or_with_the_time():
    box = Mailbox(MailboxOptions())
    waiting = asyncio.create_task(box.wait(lambda: len(box) == 1, 5))
    await asyncio.sleep(0)
    box.add(record(), octets())
    assert await waiting
    assert not await box.wait(lambda: len(box) == 2, 0.01)


def test_text_html_and_attachments_are_told_apart():
    content = Content(
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
        b"Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n"
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n--i\r\n"
        b"Content-Type: text/html\r\n\r\n<b>Hi</b>\r\n--i--\r\n--o\r\n"
        b"Content-Type: image/png\r\nContent-ID: <logo>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--o\r\n"
        b"Content-Type: text/plain\r\n"
        b'Content-Disposition: attachment; filename="../../etc/passwd"\r\n\r\nx\r\n--o--\r\n'
    )
    assert content.text.strip() == "Grüße"
    assert content.html.strip() == "<b>Hi</b>"
    logo, attached = content.parts
    assert (logo.content_id, logo.octets[:4], logo.name) == (
        "logo",
        b"\x89PNG",
        "unnamed",
    )
    assert (attached.number, attached.name) == (2, "passwd")


def test_links_are_found_in_both_texts_once_each():
    content = Content(
        b"Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n"
        b"Content-Type: text/plain\r\n\r\nGo to https://a.test/x?y=1, or (http://b.test/).\r\n"
        b"--i\r\nContent-Type: text/html\r\n\r\n<a href='https://a.test/x?y=1'>a</a>"
        b'<a href="https://c.test/?p=1&amp;q=2">c</a><a href="javascript:alert(1)">d</a>\r\n--i--'
    )
    assert content.links == [
        "https://a.test/x?y=1",
        "http://b.test/",
        "https://c.test/?p=1&q=2",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\xfe\x00",
        b"Subject: =?x-none?b?AAAA?=\r\n\r\n",
        b"Subject: =?utf-8?b?A?=\r\n\r\n",
        b"Subject: \xff\xff\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff",
        b"Subject: a\x1b[2J\x00b\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno part at all",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 2_000,
        b"Content-Disposition: attachment; filename*=bad''%ff\r\n\r\nx",
        b"Content-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n####",
    ],
)
def test_nothing_in_a_message_makes_reading_it_fail(hostile):
    read_all(Content(hostile))


_PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r\n\r\n",
            b"--x",
            b"--x--",
            b"=?utf-8?",
            b"b?",
            b"q?=",
            b"?=",
        ),
        *(
            b"Subject: ",
            b"Content-Type: multipart/mixed; boundary=x",
            b"text/html",
            b";",
        ),
        *(b"Content-Type: message/rfc822", b"Content-Type: text/plain; charset="),
        *(b"Content-Transfer-Encoding: base64", b"filename*0*=", b"utf-7''", b"\xff"),
        *(
            b"Content-Disposition: attachment; ",
            b"\x00",
            b"=ED=A0=80",
            b"quoted-printable",
        ),
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=5), max_size=30).map(b"".join))
@examples(500)
def test_whatever_arrives_can_be_shown(octets):
    read_all(Content(octets))


def read_all(content: Content) -> None:
    for text in (content.subject, content.text, content.html, content.source):
        text.encode()
    "".join(content.links).encode()
    for name, value in content.fields:
        f"{name}: {value}".encode()
        assert "\x1b" not in value
    assert len(content.parts) <= 500
