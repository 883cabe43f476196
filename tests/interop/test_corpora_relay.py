"""Other people's messages through the relay: what leaves is what came, octet for octet.

Each gets a From of a verified domain by cutting octets; then everything that was not the
relay's to take out or add must arrive unchanged, and its signature must verify.
"""

import re
from pathlib import Path

import pytest

from soboo_mta.formats.header import HeaderBlock
from tests.interop.house import ACME, SINK, House
from tests.interop.test_corpora_dkim import messages

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TAKEN = frozenset(  # what submission takes out
    (b"bcc", b"resent-bcc", b"return-path", b"authentication-results")
)
_REPLACED = {b"date", b"message-id"}  # where malformed, or twice
_NAMED = frozenset((b"sender", b"resent-from", b"resent-sender"))  # refused as others'
_FEWEST = 100  # of some 300 a part can't be taken: long lines, NUL, two From fields


def _as_ours(header: HeaderBlock) -> bytes:
    """The message with a From of ours and without fields that name other senders."""
    kept = header.without(_NAMED | {b"from"})
    return b"From: Acme <news@%b>\r\n" % ACME.encode() + kept + b"\r\n" + header.body


def _check_untouched(arrived: bytes, submitted: bytes) -> None:
    """Octet for octet: on top the relay's own fields, then all that was not its to
    take. `submitted` begins with From."""
    after, before = HeaderBlock.parse(arrived), HeaderBlock.parse(submitted)
    ours = [field.name for field in after.fields[: _index_of_from(after)]]
    assert ours[:2] == [b"dkim-signature", b"received"]
    assert set(ours[2:]) <= _REPLACED
    assert len(set(ours)) == len(ours)
    kept = before.without(_TAKEN | _REPLACED.intersection(ours))
    assert arrived[after.named(b"from")[0].start :] == kept + b"\r\n" + before.body


def _index_of_from(header: HeaderBlock) -> int:
    return [field.name for field in header.fields].index(b"from")


async def test_case_063_077_real_messages_arrive_as_they_came(
    house: House, corpora: Path, figures: list[str]
) -> None:
    sent: dict[str, bytes] = {}
    refused: dict[str, int] = {}
    for number, (_, header) in enumerate(messages(corpora)):
        octets, to = _as_ours(header), f"corpus-{number}@{SINK}"
        answer = await house.submit(octets, to)
        if answer.startswith("250"):
            sent[to] = octets
        else:
            reason = re.sub(r"[\d,]{4,}|'.*'", "…", answer)[:70]
            refused[reason] = refused.get(reason, 0) + 1
    records = await house.arrived(*sent)
    for (to, octets), record in zip(sent.items(), records, strict=True):
        assert record.raw is not None
        arrived = record.raw.read_bytes()
        _check_untouched(arrived, octets)
        assert record.verdict.dmarc == "pass", (to, record.verdict)
        assert [s.result for s in record.verdict.dkim][:1] == ["pass"], to
    opinions = await house.opinions(*records)
    read = [one for one in opinions if one.opendkim]  # OpenDKIM shies at some headers
    for opinion in opinions:
        assert opinion.by_spf, opinion
        assert opinion.by_mail_dkim, opinion
        assert opinion.by_opendkim or not opinion.opendkim, opinion
    assert len(read) > 0.9 * len(opinions)
    figures.append(
        f"corpus: {len(sent)} messages relayed unchanged, aligned to Mail::DKIM and "
        f"Mail::SPF, {len(read)} of them to OpenDKIM too; refused: {refused}"
    )
    assert len(sent) >= _FEWEST
    assert all(answer.startswith("5") for answer in refused), refused
