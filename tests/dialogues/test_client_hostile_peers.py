"""Peers that are out of step, without end, or say what they take: cases 145, 149, 155 to 157."""

import asyncio
from datetime import timedelta

import pytest

from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Reason, Scope
from soboo_mta.net.smtp_client import ClientOptions, SmtpConnector
from soboo_mta.net.smtp_client.limits import Limits
from soboo_mta.ports import ConnectFailure, Session, SmtpTimeouts, TlsPolicy
from tests.fakes.peer import (
    ACCEPT,
    ACCEPT_IN_STEP,
    GREETING,
    PIPELINING,
    PLAIN,
    QUIT,
    Peer,
    a_transaction,
)

ENVELOPE = ["C: MAIL FROM:*", "C: RCPT TO:*", "C: DATA"]
PATIENT = SmtpTimeouts(banner=timedelta(seconds=20), command=timedelta(seconds=20))


async def opened(
    peer: Peer, timeouts: SmtpTimeouts = PATIENT
) -> Session | ConnectFailure:
    return await SmtpConnector(options=ClientOptions(timeouts=timeouts)).connect(
        peer.hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
    )


async def connected(peer: Peer) -> Session:
    session = await opened(peer)
    assert not isinstance(session, ConnectFailure), session
    return session


async def until_unusable(session: Session) -> None:
    async with asyncio.timeout(10):
        while session.is_usable:
            await asyncio.sleep(0.001)


# ---- the opening


@pytest.mark.parametrize("where", ["banner", "EHLO"])
@pytest.mark.parametrize("octets", ["2{}0-x\r\n" * 20_000, "2{}0-" + "x" * 200_000])
async def test_case_145_an_endless_opening_is_cut_off_long_before_its_timeout(
    where, octets
):
    if where == "banner":
        script = [f"S: {octets.replace('{}', '2')}", "HANG"]
    else:
        script = [*GREETING, f"S: {octets.replace('{}', '5')}", "HANG"]
    async with Peer([script]) as peer:
        async with asyncio.timeout(10):
            failure = await opened(peer)
    assert isinstance(failure, ConnectFailure)
    assert isinstance(failure.outcome, Deferred)
    assert failure.outcome.scope is Scope.HOST
    assert len(str(failure.outcome.reply)) < 2_100


async def test_case_145_nul_and_8_bit_in_banner_and_ehlo_harm_nobody():
    script = [
        "S: 220-\x00 caf\xe9 \x1b[2J",
        "S: 220 \xff\xfe",
        "C: EHLO *",
        "S: 250-\x00\xe9",
        "S: 250-SI\xe9ZE 5",
        "S: 250 PIPELINING",
        *ACCEPT,
        *QUIT,
    ]
    async with Peer([script]) as peer:
        session = await connected(peer)
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await session.close()


@pytest.mark.parametrize("code", ["450 4.3.2 busy", "421 4.3.2 closing"])
async def test_case_157_a_busy_peer_is_not_asked_with_helo(code):
    """HELO has no STARTTLS: what comes later must not go in clear for that."""
    async with Peer([[*GREETING, f"S: {code}"]]) as peer:
        failure = await opened(peer)
        assert isinstance(failure, ConnectFailure)
        assert isinstance(failure.outcome, Deferred)
        assert str(failure.outcome.reply) == code
        assert peer.said == ["EHLO out.esp.example"]


# ---- out of step


async def test_case_149_replies_ahead_of_the_content_deliver_nothing():
    early = ["S: 250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued"]
    async with Peer([[*PIPELINING, *ENVELOPE, *early]]) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Deferred)
        assert not session.is_usable
        await session.close()
    assert peer.contents == []


async def test_case_149_a_late_reply_is_never_taken_for_the_next_messages():
    async with Peer([[*PIPELINING, *ACCEPT, "S: 250 2.0.0 late"]]) as peer:
        session = await connected(peer)
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await until_unusable(session)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Deferred)
        await session.close()
    assert len(peer.contents) == 1


async def test_case_155_a_peer_that_says_421_while_idle_is_left_without_a_word():
    async with Peer([[*PIPELINING, *ACCEPT, "S: 421 4.4.2 idle", "DROP"]]) as peer:
        session = await connected(peer)
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await until_unusable(session)
        await session.close()
    assert peer.wrong == []


# ---- what a peer takes


async def test_case_156_no_more_recipients_than_the_peer_takes_at_a_time():
    hello = [*GREETING, "S: 250-peer.example", "S: 250 LIMITS MAILMAX=3 RCPTMAX=2"]

    def group(recipients: int) -> list[str]:
        return [
            "C: MAIL FROM:*",
            "S: 250 ok",
            *["C: RCPT TO:*", "S: 250 ok"] * recipients,
            "C: DATA",
            "S: 354 go",
            "DATA",
            "S: 250 2.0.0 queued",
        ]

    async with Peer([[*hello, *group(2), *group(2), *group(1), *QUIT]]) as peer:
        session = await connected(peer)
        to = [f"{name}@there.example" for name in "abcde"]
        outcomes = await session.deliver(a_transaction(*to))
        assert [type(outcome) for outcome in outcomes] == [Delivered] * 5
        assert not session.is_usable  # MAILMAX=3
        await session.close()
        assert peer.wrong == []


async def test_case_156_what_a_broken_connection_leaves_over_goes_elsewhere():
    hello = [*GREETING, "S: 250-peer.example", "S: 250 LIMITS RCPTMAX=1"]
    async with Peer([[*hello, *ACCEPT_IN_STEP, "DROP"]]) as peer:
        session = await connected(peer)
        to = [f"{name}@there.example" for name in "abc"]
        outcomes = await session.deliver(a_transaction(*to))
    assert [type(outcome) for outcome in outcomes] == [Delivered, Deferred, Deferred]
    assert {outcome.scope for outcome in outcomes[1:]} == {Scope.HOST}
    assert len(peer.contents) == 1


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ({}, Limits()),
        ({"size": ""}, Limits()),
        ({"size": " 1000 "}, Limits(octets=1_000)),
        ({"size": "9" * 100, "limits": "RCPTMAX=x MAILMAX="}, Limits()),
        ({"limits": "rcptmax=7 OTHER RCPTDOMAINMAX=1"}, Limits(recipients=7)),
        ({"limits": "MAILMAX=0 RCPTMAX=0"}, Limits()),
    ],
)
def test_limits_that_cannot_be_read_are_none(said, limits):
    assert Limits.said(said) == limits


async def test_case_157_smaller_than_the_message_is_5_3_4_before_mail_and_data():
    async with Peer([[*GREETING, "S: 250-x", "S: 250 SIZE 1000", *QUIT]]) as peer:
        session = await connected(peer)
        content = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 100
        (outcome,) = await session.deliver(a_transaction(octets=(content,)))
        assert isinstance(outcome, Failed)
        assert outcome.reason is Reason.UNSUPPORTED
        assert str(outcome.reply).startswith("554 5.3.4")
        await session.close()
    assert peer.said == ["EHLO out.esp.example", "QUIT"]


async def test_case_148_the_final_dot_is_waited_for_longer_than_any_command():
    """A close before its answer is a duplicate: RFC 5321 §4.5.3.2.6 asks ten minutes."""
    assert SmtpTimeouts().data_done == timedelta(minutes=10)
    thinking = timedelta(milliseconds=150)
    timeouts = SmtpTimeouts(command=thinking / 3, data_start=thinking / 3)
    done = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readuntil(b"EHLO out.esp.example\r\n")
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        await asyncio.sleep(thinking.total_seconds())
        writer.write(b"250 2.0.0 thought about it\r\n")
        await reader.read()
        writer.close()
        done.set()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    async with Peer([PLAIN]) as peer:  # for its hop
        peer._port = server.sockets[0].getsockname()[1]
        session = await opened(peer, timeouts)
        assert not isinstance(session, ConnectFailure), session
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Delivered)
        await session.close()
    await asyncio.wait_for(done.wait(), 5)
    server.close()
