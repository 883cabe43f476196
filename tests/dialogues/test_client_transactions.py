"""Transactions against scripted peers: cases 145 to 149 and 155 to 157."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from soboo_mta.formats.classes.rules import own_rules_text, read_rules
from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient, Returned
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Scope
from soboo_mta.net.smtp_client import ClientOptions, SmtpConnector
from soboo_mta.net.smtp_client.session import dot_stuffed
from soboo_mta.ports import (
    ConnectFailure,
    HopAddress,
    Session,
    SmtpTimeouts,
    TlsPolicy,
)
from tests.fakes.peer import (
    ACCEPT,
    ACCEPT_IN_STEP,
    CONTENT,
    GREETING,
    PIPELINING,
    PLAIN,
    QUIT,
    Peer,
    a_transaction,
)

SHORT = timedelta(milliseconds=200)
ENVELOPE = ["C: MAIL FROM:*", "C: RCPT TO:*", "C: DATA"]
RSET = ["C: RSET", "S: 250 ok"]


async def connected(peer: Peer, timeouts: SmtpTimeouts | None = None) -> Session:
    options = ClientOptions(timeouts=timeouts or SmtpTimeouts())
    session = await SmtpConnector(options=options).connect(
        peer.hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
    )
    assert not isinstance(session, ConnectFailure), session
    return session


async def outcome_of(*script: str, **rest: object) -> tuple[Outcome, bool]:
    """The outcome of one transaction, and whether the session can go on."""
    async with Peer([[*PIPELINING, *script]]) as peer:
        session = await connected(peer)
        outcomes = await session.deliver(a_transaction(**rest))
        usable = session.is_usable
        await session.close()
        assert peer.wrong == []
    return outcomes[0], usable


async def test_a_group_of_commands_goes_out_at_once_and_the_session_is_reused():
    async with Peer([[*PIPELINING, *ACCEPT, *ACCEPT, *QUIT]]) as peer:
        session = await connected(peer)
        for _ in range(2):
            (outcome,) = await session.deliver(a_transaction())
            assert isinstance(outcome, Delivered)
            assert str(outcome.reply) == "250 2.0.0 queued"
        await session.close()
        assert peer.wrong == []
    assert peer.connections == 1
    assert (
        peer.said[1] == f"MAIL FROM:<b-1@bounce.customer.example> SIZE={len(CONTENT)}"
    )
    assert peer.contents[0] == CONTENT.replace(b"\r\n.", b"\r\n..") + b".\r\n"


async def test_without_pipelining_each_command_waits_for_its_answer():
    async with Peer([[*PLAIN, *ACCEPT_IN_STEP, *QUIT]]) as peer:
        session = await connected(peer)
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await session.close()
        assert peer.wrong == []
    assert peer.said[1] == "MAIL FROM:<b-1@bounce.customer.example>"


async def test_a_refused_mail_in_step_asks_nothing_more():
    script = [*PLAIN, "C: MAIL FROM:*", "S: 550 5.7.1 no", *RSET, *QUIT]
    async with Peer([script]) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Failed)
        assert outcome.scope is Scope.MESSAGE
        await session.close()
        assert peer.wrong == []


async def test_case_157_ehlo_refused_falls_back_to_helo():
    script = [
        *GREETING,
        "S: 502 what",
        "C: HELO *",
        "S: 250 hi",
        *ACCEPT_IN_STEP,
        *QUIT,
    ]
    async with Peer([script]) as peer:
        session = await connected(peer)
        assert isinstance((await session.deliver(a_transaction()))[0], Delivered)
        await session.close()


async def test_case_145_a_refused_recipient_fails_alone_and_the_session_goes_on():
    outcome, usable = await outcome_of(
        *ENVELOPE, "S: 250 ok", "S: 550 5.1.1 who", "S: 503 5.5.1 no rcpt", *RSET, *QUIT
    )
    assert isinstance(outcome, Failed)
    assert str(outcome.reply) == "550 5.1.1 who"
    assert outcome.scope is Scope.RECIPIENT
    assert usable


async def test_case_145_a_354_without_a_recipient_is_ended_by_a_lone_dot():
    outcome, usable = await outcome_of(
        *ENVELOPE,
        "S: 250 ok",
        "S: 450 4.2.1 later",
        "S: 354 go",
        "DATA",
        "S: 554 5.5.1 no valid recipients",
        *RSET,
        *QUIT,
    )
    assert isinstance(outcome, Deferred)
    assert str(outcome.reply) == "450 4.2.1 later"
    assert usable


async def test_case_125_146_each_recipient_has_an_outcome_of_its_own():
    script = [
        *PIPELINING,
        "C: MAIL FROM:*",
        *["C: RCPT TO:*"] * 4,
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 550 5.1.1 who",
        "S: 452 4.5.3 too many",
        "S: 552 too many recipients",
        "S: 354 go",
        "DATA",
        "S: 250 2.0.0 queued",
        *QUIT,
    ]
    async with Peer([script]) as peer:
        session = await connected(peer)
        outcomes = await session.deliver(
            a_transaction(*[f"{n}@t.example" for n in "abcd"])
        )
        await session.close()
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Delivered, Failed, Deferred, Deferred]


@pytest.mark.parametrize("code", [451, 554])
async def test_case_145_a_refusal_after_the_final_dot_is_the_messages(code):
    outcome, usable = await outcome_of(*ACCEPT[:-1], f"S: {code} 1.2.3 no", *QUIT)
    assert isinstance(outcome, Deferred if code == 451 else Failed)
    assert outcome.scope is Scope.MESSAGE
    assert usable


@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_case_145_a_421_at_any_command_defers_and_closes(answered):
    oks = ["S: 250 ok", "S: 250 ok"][:answered]
    outcome, usable = await outcome_of(*ENVELOPE, *oks, "S: 421 4.3.2 closing", "DROP")
    assert isinstance(outcome, Deferred)
    assert outcome.reply.code == 421
    assert outcome.scope is Scope.HOST
    assert not usable


@pytest.mark.parametrize("how", ["DROP", "RESET"])
@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_case_147_a_connection_lost_before_the_content_tries_another_host(
    how, answered
):
    oks = ["S: 250 ok", "S: 250 ok"][:answered]
    outcome, usable = await outcome_of(*ENVELOPE, *oks, how)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.CONNECTION
    assert outcome.scope is Scope.HOST
    assert not usable


async def test_case_147_a_connection_lost_after_the_final_dot_waits_for_its_next_time():
    outcome, usable = await outcome_of(*ACCEPT[:-1], "DROP")
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.MESSAGE
    assert not usable


async def test_case_147_a_refusal_counts_even_when_the_peer_then_drops_the_line():
    outcome, _ = await outcome_of(*ENVELOPE, "S: 250 ok", "S: 550 5.1.1 who", "DROP")
    assert isinstance(outcome, Failed)


@pytest.mark.parametrize(
    "answer",
    [
        "hello",
        "2x0 ok",
        "150 ok",
        "666 ok",
        "250-a\r\nS",
        "250-a\r\n550 b",
        "250_ok",
        "\x00\x00\x00",
    ],
)
async def test_case_145_what_is_not_smtp_defers_and_closes(answer):
    outcome, usable = await outcome_of(*ACCEPT[:-1], f"S: {answer}")
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.PROTOCOL
    assert not usable


@pytest.mark.parametrize("answer", ["250 " + "x" * 20_000, "250-x\r\n" * 10_000])
async def test_case_145_an_endless_reply_is_cut_off(answer):
    outcome, usable = await outcome_of(*ACCEPT[:-1], f"S: {answer}")
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.PROTOCOL
    assert not usable


async def test_case_145_160_a_hostile_reply_is_made_printable_and_short():
    text = "250 2.0.0 \x1b[31m\x00 \x7f caf\xe9 " + "y" * 5_000
    outcome, _ = await outcome_of(*ACCEPT[:-1], f"S: {text}", *QUIT)
    assert isinstance(outcome, Delivered)
    assert outcome.reply.text.isprintable()
    assert len(outcome.reply.text) <= 2_000


async def test_case_149_a_reply_nobody_asked_for_ends_the_session():
    outcome, usable = await outcome_of(*ACCEPT[:-1], "S: 250 ok\r\n250 and more")
    assert isinstance(outcome, Delivered)
    assert not usable


async def test_case_145_a_250_instead_of_354_is_never_followed_by_the_content():
    async with Peer([[*PIPELINING, *ENVELOPE, *["S: 250 ok"] * 3]]) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Deferred)
        assert outcome.reason is Reason.PROTOCOL
        assert not session.is_usable
        await session.close()
    assert peer.contents == []


@pytest.mark.parametrize("after", [ENVELOPE, ACCEPT[:-1]])
async def test_case_147_silence_is_a_timeout(after):
    timeouts = SmtpTimeouts(command=SHORT, data_start=SHORT, data_done=SHORT)
    async with Peer([[*PIPELINING, *after, "HANG"]]) as peer:
        session = await connected(peer, timeouts)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Deferred)
        assert outcome.reason is Reason.TIMEOUT
        assert not session.is_usable
        await session.close()


async def test_case_148_the_answer_to_the_final_dot_may_take_longer_than_any_other():
    timeouts = SmtpTimeouts(command=SHORT, data_start=SHORT, data_block=SHORT)
    script = [*PIPELINING, *ACCEPT[:-1], "PAUSE", ACCEPT[-1], *QUIT]
    async with Peer([script]) as peer:
        session = await connected(peer, timeouts)
        (outcome,) = await session.deliver(a_transaction())
        assert isinstance(outcome, Delivered)
        await session.close()
        assert peer.wrong == []


@pytest.mark.parametrize("answer", ["S: 421 4.3.2 bye", "S: 500 what", "DROP", "S: x"])
async def test_case_155_a_session_whose_rset_fails_is_not_used_again(answer):
    outcome, usable = await outcome_of(
        *ENVELOPE,
        "S: 250 ok",
        "S: 550 5.1.1 who",
        "S: 503 5.5.1 no rcpt",
        "C: RSET",
        answer,
    )
    assert isinstance(outcome, Failed)
    assert not usable


async def test_the_final_dot_is_not_sent_when_it_may_not():
    async with Peer(
        [[*PIPELINING, *ENVELOPE, *["S: 250 ok"] * 2, "S: 354 go"]]
    ) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction(may_finish=lambda: False))
        assert isinstance(outcome, Deferred)
        assert outcome.reason is Reason.INTERRUPTED
        assert not session.is_usable
        await session.close()
    assert peer.contents == []


async def test_a_large_content_arrives_whole():
    content = b"Subject: big\r\n\r\n" + b".123456789\r\n" * 60_000
    script = [*PLAIN, *ACCEPT_IN_STEP, *QUIT]
    async with Peer([script]) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction(octets=(content,)))
        assert isinstance(outcome, Delivered)
        await session.close()
    assert peer.contents[0] == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


async def test_case_157_more_than_the_peers_size_is_refused_before_mail():
    outcome, usable = await outcome_of(*QUIT, octets=(b"x" * 100_001 + b"\r\n",))
    assert isinstance(outcome, Failed)
    assert "5.3.4" in str(outcome.reply)
    assert usable


@pytest.mark.parametrize("what", ["eight_bit", "smtputf8"])
async def test_case_021_028_what_the_peer_does_not_take_is_refused_before_mail(what):
    async with Peer([[*PLAIN, *QUIT]]) as peer:
        session = await connected(peer)
        (outcome,) = await session.deliver(a_transaction(**{what: True}))
        assert isinstance(outcome, Failed)
        assert outcome.reason is Reason.UNSUPPORTED
        await session.close()
    assert len(peer.said) == 2


async def test_extensions_are_asked_for_where_the_message_needs_them():
    async with Peer([[*PIPELINING, *ACCEPT, *QUIT]]) as peer:
        session = await connected(peer)
        transaction = a_transaction("jörg@there.example", eight_bit=True, smtputf8=True)
        assert isinstance((await session.deliver(transaction))[0], Delivered)
        await session.close()
    assert peer.said[1].endswith(" BODY=8BITMIME SMTPUTF8")
    assert peer.said[2] == "RCPT TO:<jörg@there.example>"


@pytest.mark.parametrize("bare", [b"a\nb", b"a\rb", b"\n.\n", b"\r.\r", b"\r\r\n"])
async def test_case_003_a_bare_line_end_never_reaches_a_peer(bare):
    outcome, _ = await outcome_of(
        *QUIT, octets=(b"Subject: x\r\n\r\n" + bare + b"\r\n",)
    )
    assert isinstance(outcome, Failed)


@pytest.mark.parametrize(
    ("pieces", "wire"),
    [
        ((b"",), b"\r\n.\r\n"),
        ((b".\r\n",), b"..\r\n.\r\n"),
        ((b"a\r\n.b\r\n..c",), b"a\r\n..b\r\n...c\r\n.\r\n"),
        ((b"a\r\n", b".b\r\n"), b"a\r\n..b\r\n.\r\n"),
    ],
)
def test_case_003_dots_are_stuffed_at_line_starts_alone(pieces, wire):
    assert dot_stuffed(pieces) == wire


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (["S: 554 5.7.1 you are listed"], Reason.REPLY),
        (["S: 421 4.3.2 busy"], Reason.REPLY),
        (["S: hello"], Reason.REPLY),
        (["DROP"], Reason.CONNECTION),
        (["HANG"], Reason.TIMEOUT),
        ([*GREETING, "S: 421 4.3.2 busy", "DROP"], Reason.REPLY),
        ([*GREETING, "DROP"], Reason.CONNECTION),
        ([*GREETING, "HANG"], Reason.TIMEOUT),
    ],
)
async def test_case_147_a_session_that_does_not_open_defers_for_the_host(
    script, reason
):
    timeouts = SmtpTimeouts(banner=SHORT, command=SHORT)
    async with Peer([script]) as peer:
        connector = SmtpConnector(options=ClientOptions(timeouts=timeouts))
        failure = await connector.connect(
            peer.hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
        )
    assert isinstance(failure, ConnectFailure)
    assert isinstance(failure.outcome, Deferred)
    assert failure.outcome.scope is Scope.HOST
    if script != ["S: hello"]:
        assert failure.outcome.reason is reason
    else:
        assert failure.outcome.reason is Reason.PROTOCOL


async def test_case_166_nobody_listening_and_an_unbindable_source_defer():
    async with Peer([PIPELINING]) as peer:
        elsewhere = ip_address("192.0.2.77")
        failure = await SmtpConnector().connect(
            peer.hop, ehlo="a.example", source_address=elsewhere, tls=TlsPolicy.NONE
        )
        assert isinstance(failure, ConnectFailure)
        assert isinstance(failure.outcome, Deferred)
        assert failure.outcome.reason is Reason.SOURCE
        assert failure.outcome.scope is Scope.SITE
        gone: HopAddress = peer.hop
    failure = await SmtpConnector().connect(
        gone, ehlo="a.example", source_address=None, tls=TlsPolicy.NONE
    )
    assert isinstance(failure, ConnectFailure)
    assert isinstance(failure.outcome, Deferred)
    assert failure.outcome.reason is Reason.CONNECTION


RULES = """
[provider.there]
hosts = ["%s"]
[[rule]]
name = "there"
provider = "there"
text = "not today"
to = "blocked-source"
"""


async def test_what_is_answered_is_read_by_the_rules_of_that_host():
    refusal = [*ENVELOPE[:2], "S: 250 ok", "S: 550 not today"]
    script = [*PIPELINING, *refusal, *RSET, *QUIT]
    async with Peer([script, script, ["S: 554 not today"]]) as peer:
        reasons = []
        for host in ("elsewhere.example", peer.hop.host):
            rules = read_rules(RULES % host, own_rules_text())
            session = await SmtpConnector(rules=rules).connect(
                peer.hop, ehlo="a.example", source_address=None, tls=TlsPolicy.NONE
            )
            assert not isinstance(session, ConnectFailure)
            (outcome,) = await session.deliver(a_transaction())
            reasons.append((type(outcome), outcome.reason))
            await session.close()
        assert reasons == [(Failed, Reason.REPLY), (Deferred, Reason.BLOCKED)]
        failure = await SmtpConnector(rules=rules).connect(
            peer.hop, ehlo="a.example", source_address=None, tls=TlsPolicy.NONE
        )
        assert isinstance(failure, ConnectFailure)
        assert failure.outcome.reason is Reason.BLOCKED


async def test_the_source_address_is_bound():
    async with Peer([[*PIPELINING, *QUIT]]) as peer:
        session = await SmtpConnector().connect(
            peer.hop,
            ehlo="a.example",
            source_address=ip_address("127.0.0.2"),
            tls=TlsPolicy.NONE,
        )
        assert not isinstance(session, ConnectFailure)
        await session.close()


async def test_case_145_a_mail_refused_for_now_is_not_made_final_by_the_503_of_the_group():
    outcome, usable = await outcome_of(
        *ENVELOPE,
        "S: 451 4.7.1 greylisted",
        "S: 503 5.5.1 need MAIL",
        "S: 503 5.5.1 need RCPT",
        *RSET,
        *QUIT,
    )
    assert isinstance(outcome, Deferred)
    assert outcome.reply.code == 451
    assert outcome.scope is Scope.MESSAGE
    assert usable


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"250 2.0.0 thanks", Deferred), (b"552 5.3.4 too big", Failed)],
)
async def test_case_149_an_answer_before_the_final_dot_can_refuse_and_never_deliver(
    answer: bytes, kind: type[Outcome]
):
    """And nothing more is said: the peer may still read it as content."""
    got = bytearray()
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        got.extend(await reader.read(65_536))
        writer.write(answer + b"\r\n")
        await writer.drain()
        try:
            while more := await reader.read(65_536):
                got.extend(more)
        except ConnectionError:
            pass  # hung up on, as it should be
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hop = HopAddress(host="x", address=ip_address("127.0.0.1"), port=port)
    session = await SmtpConnector().connect(
        hop, ehlo="a.b", source_address=None, tls=TlsPolicy.NONE
    )
    assert not isinstance(session, ConnectFailure)
    content = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 1_000_000
    (outcome,) = await session.deliver(a_transaction(octets=(content,)))
    await session.close()
    await asyncio.wait_for(ended.wait(), 5)
    server.close()
    assert isinstance(outcome, kind), outcome
    assert len(got) < len(content)
    assert b"QUIT" not in got


ASKING = DsnRequest(
    returned=Returned.HEADERS,
    envelope_id="Order=17",
    asked=(
        Asked(
            notify=frozenset({Notify.SUCCESS, Notify.FAILURE}),
            orcpt=OriginalRecipient("rfc822", "Bob@x.example"),
        ),
    ),
)


@pytest.mark.parametrize("offer", ["S: 250-DSN", None])
async def test_case_027_what_was_asked_goes_along_where_dsn_is_offered(
    offer: str | None,
):
    greeting = [*PIPELINING[:-1], *([offer] if offer else []), PIPELINING[-1]]
    async with Peer([[*greeting, *ACCEPT, *QUIT]]) as peer:
        session = await connected(peer)
        assert session.offers_dsn is (offer is not None)
        (outcome,) = await session.deliver(replace(a_transaction(), dsn=ASKING))
        assert isinstance(outcome, Delivered)
        await session.close()
        assert peer.wrong == []
    mail, rcpt = peer.said[1:3]
    assert mail.endswith(" RET=HDRS ENVID=Order+3D17") is (offer is not None)
    asked = " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@x.example"
    assert rcpt.endswith(asked if offer else "example>")
