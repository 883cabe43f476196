"""Other people's messages through the relay: what leaves is what came, octet for octet.

Each gets a From of a verified domain by cutting octets; then everything that was not the
relay's to take out or add must arrive unchanged, and its signature must verify.
"""

import re
from pathlib import Path

import aiosmtplib
import pytest

from soboo_mta.formats.header import HeaderBlock
from tests.interop.house import ACME, SINK, House
from tests.interop.test_corpora_dkim import messages

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TAKEN = frozenset(  # what submission takes out
    (b"bcc", b"resent-bcc", b"return-path", b"authentication-results")
)
_ADDED = frozenset((b"dkim-signature", b"received", b"date", b"message-id"))
_NAMED = frozenset((b"sender", b"resent-from", b"resent-sender"))  # refused as others'
_FEWEST = 100  # of some 300 a part can't be taken: long lines, NUL, two From fields


def _as_ours(header: HeaderBlock) -> bytes:
    """The message with a From of ours and without fields that name other senders."""
    kept = header.without(_NAMED | {b"from"})
    return b"From: Acme <news@%b>\r\n" % ACME.encode() + kept + b"\r\n" + header.body


def _comparable(content: bytes) -> tuple[bytes, bytes]:
    """Fields that must not change, and the body."""
    header = HeaderBlock.parse(content)
    return header.without(_TAKEN | _ADDED), header.body


async def _submit(house: House, octets: bytes, to: str) -> str:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=house.clear, start_tls=False)
    async with client:
        await client.login("acme-app", house.secret)
        await client.mail(f"b@{ACME}")
        await client.rcpt(to)
        try:
            _, text = await client.data(octets)
        except aiosmtplib.SMTPDataError as error:
            return f"{error.code} {error.message}"
        return f"250 {text}"


async def test_real_messages_arrive_as_they_came(
    house: House, corpora: Path, figures: list[str]
) -> None:
    sent: dict[str, bytes] = {}
    refused: dict[str, int] = {}
    for number, (_, header) in enumerate(messages(corpora)):
        octets, to = _as_ours(header), f"corpus-{number}@{SINK}"
        answer = await _submit(house, octets, to)
        if answer.startswith("250"):
            sent[to] = octets
        else:
            reason = re.sub(r"[\d,]{4,}|'.*'", "…", answer)[:70]
            refused[reason] = refused.get(reason, 0) + 1
    records = await house.arrived(*sent)
    for (to, octets), record in zip(sent.items(), records, strict=True):
        assert record.raw is not None
        arrived = record.raw.read_bytes()
        assert _comparable(arrived) == _comparable(octets), to
        assert record.verdict.dmarc == "pass", (to, record.verdict)
        assert [s.result for s in record.verdict.dkim][:1] == ["pass"], to
    figures.append(
        f"corpus: {len(sent)} messages relayed unchanged, refused: {refused}"
    )
    assert len(sent) >= _FEWEST
    assert all(answer.startswith("5") for answer in refused), refused
