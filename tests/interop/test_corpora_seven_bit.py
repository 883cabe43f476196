"""Other people's 8-bit messages to a peer without 8BITMIME: Postfix's `smtp-sink -8`.

What arrives is 7-bit, its signature is good to verifiers that are not ours, and a reader
(Python's) decodes the same parts from it.
"""

import email
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiosmtplib
import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World, free_ports, world
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.mime.entity import Entity, parts_of, read_entity
from soboo_mta.mail.errors import FormatError
from tests.interop.house import ACME, settle_in
from tests.interop.running import is_listening, running
from tests.interop.test_corpora_dkim import messages
from tests.interop.verifiers import Suspect, judge

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SINK, _ADDRESS = "seven-bit.test", "127.0.0.8"
_TRUSTED = '\n[submission]\ntrusted_networks = ["127.0.0.0/8"]\n'
_OURS = frozenset((b"from", b"sender", b"resent-from", b"resent-sender"))
_SILENT = "\n[reports]\nsend = false\n"  # what has no 7-bit form fails, and is not told
_LINE = "Ein Satz mit Umlauten: schöne Grüße aus der größeren Stadt.\r\n".encode()
_FEWEST = 80  # of some 300 messages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    (port,) = free_ports(1)
    directory = tmp_path_factory.mktemp("seven") / "world"
    async with world(directory, port=port, extra=_TRUSTED + _SILENT) as inside:
        await settle_in(inside)
        inside.zones.write_destination(_SINK, _ADDRESS)
        await inside.start_relay()
        yield inside
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


def _eight_bit(corpora: Path) -> Iterator[bytes]:
    """Messages with an 8-bit body, given a From of ours: few are so by themselves, the
    others get a line of 8-bit text on top of each text that is not encoded."""
    for _, header in messages(corpora):
        kept = header.without(_OURS)
        if kept.isascii():
            top = b"From: Acme <news@%b>\r\n" % ACME.encode()
            octets = top + kept + b"\r\n" + header.body
            if octets.isascii():
                places = sorted(_texts(octets, read_entity(octets, 0, len(octets))))
                for place in reversed(places):
                    octets = octets[:place] + _LINE + octets[place:]
            if not octets.isascii():
                yield octets


def _texts(octets: bytes, entity: Entity) -> Iterator[int]:
    if entity.boundary is not None and entity.media != "multipart/signed":
        for start, end in parts_of(octets, entity).parts:
            try:
                yield from _texts(octets, read_entity(octets, start, end))
            except FormatError:
                continue  # a part with a header that is none
    elif (
        entity.media.startswith("text/")
        and entity.encoding in ("7bit", "8bit")
        and octets[entity.body_start - 2 : entity.body_start] == b"\r\n"
    ):
        yield entity.body_start


def _shown(content: bytes) -> list[tuple[str, bytes]]:
    """What a reader is shown, leaf by leaf; line ends are a matter of its storage."""
    shown = []
    for part in email.message_from_bytes(content).walk():
        if not part.is_multipart():
            body = part.get_payload(decode=True) or b""
            shown.append((part.get_content_type(), body.replace(b"\r\n", b"\n")))
    return shown


async def _submitted(port: int, octets: bytes, number: int) -> str:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    async with client:
        await client.mail(f"b@{ACME}", options=["BODY=8BITMIME"])
        await client.rcpt(f"seven-{number}@{_SINK}")
        try:
            return (await client.data(octets)).message
        except aiosmtplib.SMTPDataError as error:
            return f"{error.code} {error.message}"


async def test_real_8_bit_messages_reach_a_7_bit_peer_and_verify(
    place: World, corpora: Path, tmp_path: Path, figures: list[str]
) -> None:
    dumps, port = tmp_path / "dumps", place.lab.sink_port
    dumps.mkdir()
    sink = ("smtp-sink", "-8", "-u", "root", "-d", f"{dumps}/m.", f"{_ADDRESS}:{port}")
    sent: dict[str, bytes] = {}
    async with running(*sink, "100", log=tmp_path / "sink.log"):
        await place.until("smtp-sink listens", lambda: is_listening(_ADDRESS, port))
        for number, octets in enumerate(_eight_bit(corpora)):
            if "Accepted" in await _submitted(place.port, octets, number):
                sent[f"seven-{number}@{_SINK}"] = octets

        async def is_settled() -> bool:
            return (await place.command("queue", "list", "--json")).strip() == "[]"

        await place.until("all are settled", is_settled)
    arrived = [_as_received(file, tmp_path) for file in sorted(dumps.iterdir())]
    compared = 0
    for to, suspect in arrived:
        content = suspect.file.read_bytes()
        assert content.isascii()
        before = _shown(sent[to])
        if not any(media.startswith("multipart/") for media, _ in before):
            assert _shown(content) == before, to  # else Python finds no parts in it
            compared += 1
    assert compared >= _FEWEST
    for opinion in await judge([one for _, one in arrived], place.lab.dns_port):
        assert opinion.by_mail_dkim, opinion
        assert opinion.by_opendkim or not opinion.opendkim, opinion
    failed = place.relay_log().count('"event": "failed"')
    assert len(arrived) + failed == len(sent)
    figures.append(
        f"7-bit: {len(arrived)} 8-bit messages re-encoded for smtp-sink -8, good to "
        f"Mail::DKIM; {failed} have no 7-bit form"
    )


def _as_received(file: Path, directory: Path) -> tuple[str, Suspect]:
    dumped = file.read_bytes()
    envelope, _, content = dumped.partition(b"DKIM-Signature:")
    said = dict(re.findall(rb"^(X-[A-Za-z-]+): (.*)$", envelope, re.M))
    octets = b"DKIM-Signature:" + content.removesuffix(b"\n")  # smtp-sink adds a line
    kept = directory / f"{file.name}.eml"
    kept.write_bytes(re.sub(rb"\r?\n", b"\r\n", octets))
    header = HeaderBlock.parse(kept.read_bytes())
    assert header.fields[0].name == b"dkim-signature"
    return said[b"X-Rcpt-Args"].decode().strip("<> "), Suspect(
        file=kept,
        client=said[b"X-Client-Addr"].decode(),
        helo=said[b"X-Helo-Args"].decode(),
        mail_from=said[b"X-Mail-Args"].decode().partition(">")[0].lstrip("<"),
    )
