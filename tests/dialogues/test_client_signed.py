"""What was signed is what a peer receives, octet for octet (case 63)."""

import dkim
import pytest
import time_machine

from soboo_mta.formats.keys import Algorithm, dkim_txt
from soboo_mta.mail.outcome import Delivered
from soboo_mta.net.smtp_client import SmtpConnector
from soboo_mta.ports import ConnectFailure, TlsPolicy
from soboo_mta.submission.framing import check_framing
from tests.fakes.peer import ACCEPT, ACCEPT_IN_STEP, PIPELINING, PLAIN, QUIT, Peer
from tests.fakes.peer import a_transaction as transaction
from tests.unit.formats.dkimpy_reference import AT, RSA, signed_by_us

HEADER = (
    b"From: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@customer.example>\r\nTo: b@x.example\r\n"
    b"Subject:\tfolded\r\n \t and   spaced \r\nCc:\r\nX-Empty:  \r\n\r\n"
)
BODIES = {
    "empty": b"",
    "dots": b".\r\n..\r\n.x\r\n...\r\n. \r\n",
    "blank lines at the end": b"a\r\n\r\n\r\n",
    "blank lines alone": b"\r\n\r\n",
    "white space at line ends": b"a \t\r\n \r\n\tb\r\n",
    "the longest line": b"x" * 998 + b"\r\n",
    "a line that is not ended": b"a\r\nb",
    "eight bits": "Gr\u00fc\u00dfe \u2026\r\n".encode(),
    "over one write": b".0123456789abcdef\r\n" * 4_500,
}


@pytest.mark.parametrize("script", [[*PIPELINING, *ACCEPT], [*PLAIN, *ACCEPT_IN_STEP]])
@pytest.mark.parametrize("body", list(BODIES))
async def test_case_063_what_a_peer_receives_is_what_was_signed(
    script: list[str], body: str
) -> None:
    content = check_framing(HEADER + BODIES[body], mend_line_ends=False)
    octets = (signed_by_us(content), content)
    async with Peer([[*script, *QUIT]]) as peer:
        session = await SmtpConnector().connect(
            peer.hop, ehlo="a.example", source_address=None, tls=TlsPolicy.NONE
        )
        assert not isinstance(session, ConnectFailure)
        (outcome,) = await session.deliver(transaction(octets=octets))
        await session.close()
        assert peer.wrong == []
    assert isinstance(outcome, Delivered)
    received = unstuffed(peer.contents[0])
    assert received == b"".join(octets)
    record = dkim_txt(RSA.p, Algorithm.RSA).encode()
    with time_machine.travel(AT, tick=False):
        assert dkim.verify(received, dnsfunc=lambda *_, **__: record)


def unstuffed(wire: bytes) -> bytes:
    """RFC 5321 §4.5.2, as a receiver does it."""
    lines = wire.removesuffix(b".\r\n").split(b"\r\n")
    return b"\r\n".join(line[1:] if line[:1] == b"." else line for line in lines)
