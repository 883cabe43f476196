"""Fields that are folded, empty or repeated in odd ways: our signature is good to other
programs all the same (case 71)."""

import pytest

from tests.interop.house import ACME, SINK, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

_FROM = b"From: Acme <news@%b>\r\n" % ACME.encode()
_DATE = b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
_SUBJECT = b"Subject: hello\r\n"
_ODD = {
    "tab-after-colon": _FROM + _DATE + b"Subject:\thello\r\n",
    "no-space-after-colon": _FROM + _DATE + b"Subject:hello\r\n",
    "folded-at-once": _FROM + _DATE + b"Subject:\r\n hello\r\n",
    "folded-often": _FROM + _DATE + b"Subject: a\r\n \r\n\tb\r\n   c \t \r\n d\r\n",
    "spaces-at-the-end": _FROM + _DATE + b"Subject: hello   \t \r\n",
    "empty": _FROM + _DATE + b"Subject:\r\nCc:\r\n",
    "spaces-alone": _FROM + _DATE + b"Subject:   \r\nReply-To: \t\r\n",
    "longest-line": _FROM + _DATE + b"Subject: " + b"x" * 989 + b"\r\n",
    "eight-bits": _FROM + _DATE + "Subject: Gr\u00fc\u00dfe \u2026\r\n".encode(),
    "capitals": _FROM.replace(b"From", b"FROM") + _DATE + b"SUBJECT: hello\r\n",
    "repeated": _FROM
    + _DATE
    + _SUBJECT
    + b"References: <a@b>\r\nReferences: <c@d>\r\n",
    "folded-from": b"From:\r\n Acme\r\n\t<news@%b>\r\n" % ACME.encode() + _DATE,
    "colons-and-semicolons": _FROM + _DATE + b"Subject: a: b; c=d; h=from; b=\r\n",
    "names-of-one-letter": _FROM + _DATE + _SUBJECT + b"X:1\r\nx-:2\r\n",
    "many": _FROM + _DATE + _SUBJECT + b"X-Many: 1\r\n" * 300,
}


@pytest.mark.parametrize("what", _ODD)
async def test_case_071_174_an_odd_field_is_signed_as_other_programs_read_it(
    house: House, what: str
) -> None:
    to = f"odd-{what}@{SINK}"
    octets = _ODD[what] + b"To: reader@sink.test\r\n\r\nhello\r\n"
    answer = await house.submit(octets, to)
    assert answer.startswith("250"), answer
    (content,) = await house.aligned(ACME, to)
    assert content.endswith(octets.partition(_DATE)[2])
