"""What was said, as `trace` shows it: both sides, no content, no secret, bounded."""

import pytest

from soboo_mta.net.smtp_client import ClientOptions, SmtpConnector
from soboo_mta.net.smtp_client.tape import Tape
from soboo_mta.ports import ConnectFailure, Session, TlsPolicy
from tests.fakes.peer import (
    ACCEPT,
    ACCEPT_IN_STEP,
    PIPELINING,
    PLAIN,
    QUIT,
    Peer,
    a_transaction,
)


async def connected(peer: Peer, octets: int = 4_096) -> Session | ConnectFailure:
    connector = SmtpConnector(options=ClientOptions(dialogue_octets=octets))
    return await connector.connect(
        peer.hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
    )


async def test_a_refused_recipient_is_told_with_all_that_was_said():
    refusal = [
        "C: MAIL FROM:*",
        "C: RCPT TO:*",
        "C: DATA",
        "S: 250 ok",
        "S: 550 5.1.1 who",
        "S: 503 no",
        "C: RSET",
        "S: 250 ok",
    ]
    async with Peer([[*PIPELINING, *refusal, *QUIT]]) as peer:
        session = await connected(peer)
        await session.deliver(a_transaction())
        said = session.dialogue().splitlines()
        await session.close()
        assert peer.wrong == []
    assert said[0].startswith("S: 220")
    assert said[1] == "C: EHLO out.esp.example"
    assert "S: 550 5.1.1 who" in said
    places = [said.index(line) for line in ("C: DATA", "S: 550 5.1.1 who", "C: RSET")]
    assert places == sorted(places)


async def test_content_is_its_octet_count_and_the_next_transaction_forgets_the_last():
    async with Peer([[*PIPELINING, *ACCEPT, *ACCEPT, *QUIT]]) as peer:
        session = await connected(peer)
        await session.deliver(a_transaction(octets=(b"Subject: secret\r\n\r\nx\r\n",)))
        said = session.dialogue()
        assert "C: (content, 25 octets)" in said
        assert "secret" not in said
        await session.deliver(a_transaction())
        assert session.dialogue().count("C: DATA") == 1
        assert session.dialogue().count("C: EHLO") == 1
        await session.close()


async def test_a_host_that_greets_with_a_refusal_is_told_and_named():
    async with Peer([["S: 554 5.7.1 your address is blocked"]]) as peer:
        failure = await connected(peer)
    assert isinstance(failure, ConnectFailure)
    assert failure.dialogue == "S: 554 5.7.1 your address is blocked"


async def test_a_host_that_cannot_be_reached_is_named_with_its_address():
    async with Peer([]) as peer:
        hop = peer.hop
    failure = await SmtpConnector().connect(
        hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
    )
    assert isinstance(failure, ConnectFailure)
    text = failure.outcome.reply.text
    assert text == f"{hop}: Connection refused (at connect)"
    assert failure.dialogue == ""


async def test_without_pipelining_each_command_stands_before_its_answer():
    async with Peer([[*PLAIN, *ACCEPT_IN_STEP, *QUIT]]) as peer:
        session = await connected(peer)
        await session.deliver(a_transaction())
        said = session.dialogue().splitlines()
        await session.close()
        assert peer.wrong == []
    mail = next(at for at, line in enumerate(said) if line.startswith("C: MAIL"))
    assert [line[:2] for line in said[mail : mail + 6]] == ["C:", "S:"] * 3


async def test_with_a_bound_of_0_nothing_is_kept():
    async with Peer([["S: 554 no"]]) as peer:
        failure = await connected(peer, octets=0)
    assert failure.dialogue == ""


@pytest.mark.parametrize(
    "opening",
    [
        [(True, b"AUTH PLAIN AGJvYgBzM2NyM3Q=\r\n"), (False, b"235 ok\r\n")],
        [
            (True, b"auth login\r\n"),
            (False, b"334 VXNlcm5hbWU6\r\n"),
            (True, b"Ym9i\r\n"),
            (False, b"334 UGFzc3dvcmQ6\r\n"),
            (True, b"s3cr3t\r\n"),
            (False, b"535 no\r\n"),
        ],
    ],
)
def test_what_follows_auth_is_stars(opening):
    tape = Tape()
    for ours, octets in opening:
        tape.opening(octets, ours=ours)
    said = tape.text(4_096)
    for secret in ("AGJvYgBzM2NyM3Q=", "Ym9i", "s3cr3t"):
        assert secret not in said
    assert "****" in said
    assert "AUTH" in said.upper()


def test_case_160_a_long_and_hostile_answer_is_cut_and_printable():
    tape = Tape()
    for number in range(200):
        tape.group(f"RCPT TO:<r{number}@x.example>\r\n".encode(), [(550, "no\x1b[31m")])
    tape.group(b"QUIT\r\n", [(221, "z" * 100_000)])
    said = tape.text(2_000)
    assert len(said) <= 2_000
    assert "\x1b" not in said
    assert said.startswith("C: RCPT TO:<r0@")
    assert "lines left out" in said
    assert said.splitlines()[-2] == "C: QUIT"


def test_an_endless_opening_is_not_kept_endlessly():
    tape = Tape()
    for _ in range(10_000):
        tape.opening(b"250-" + b"x" * 1_000 + b"\r\n", ours=False)
    assert sum(len(octets) for _, octets in tape._opening) <= 16_384
