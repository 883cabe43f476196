"""What a sink can be told beyond replies: silence, slowness, extensions, TLS, logins."""

import asyncio
import smtplib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.mailbox import MailboxOptions
from soboo_mta.lab.rules.rule import Rule
from soboo_mta.lab.sinks.options import SinkOptions

_MESSAGE = b"From: ann@customer.test\r\nSubject: Hi\r\n\r\n.Hello\r\n"
_TO = "bob@dest.test"


@pytest.fixture
async def lab(world) -> AsyncIterator[Lab]:
    sinks = SinkOptions(certificates=True, any_login=True, largest=100_000)
    async with Lab(
        world.directory, LabOptions(sinks=sinks, mailbox=MailboxOptions())
    ) as running:
        yield running


async def talk(lab: Lab, use: Callable[[smtplib.SMTP], object]) -> object:
    """Let Python's own client talk to a sink, in a thread."""

    def converse() -> object:
        with smtplib.SMTP("127.0.0.1", lab.sink_port, "out.test", timeout=10) as client:
            client.ehlo()
            return use(client)

    return await asyncio.to_thread(converse)


async def features(lab: Lab) -> dict[str, str]:
    return await talk(lab, lambda client: dict(client.esmtp_features))


async def test_ehlo_offers_what_a_modern_host_does(lab):
    offered = await features(lab)
    assert offered.keys() == {
        *("8bitmime", "auth", "enhancedstatuscodes", "pipelining", "size"),
        *("smtputf8", "starttls"),
    }
    assert offered["size"] == "100000"
    assert offered["auth"].split() == ["LOGIN", "PLAIN"]


async def test_extensions_are_hidden_and_offered_as_told(lab):
    number = lab.behaviour.add(Rule(action="hide", extensions=("8BITMIME", "STARTTLS")))
    assert {"8bitmime", "starttls"} & (await features(lab)).keys() == set()
    lab.behaviour.remove(number)
    lab.behaviour.add(Rule(action="offer", extensions=("CHUNKING", "DSN")))
    assert {"chunking", "dsn", "8bitmime"} <= (await features(lab)).keys()


async def test_a_parameter_of_an_extension_not_offered_is_refused(lab):
    lab.behaviour.add(Rule(action="hide", extensions=("8BITMIME",)))
    code, text = await talk(
        lab, lambda client: client.docmd("MAIL", "FROM:<a@b.test> BODY=8BITMIME")
    )
    assert (code, text[:10]) == (555, b"5.5.4 BODY")
    code, _ = await talk(
        lab, lambda client: client.docmd("MAIL", "FROM:<a@b.test> RET=HDRS")
    )
    assert code == 555


async def test_dsn_parameters_are_taken_where_dsn_is_offered(lab):
    lab.behaviour.add(Rule(action="offer", extensions=("DSN",)))
    await talk(
        lab,
        lambda client: client.sendmail(
            "a@b.test",
            [_TO],
            _MESSAGE,
            mail_options=["RET=HDRS", "ENVID=x"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{_TO}"],
        ),
    )
    (record,) = await lab.wait_for(1)
    assert record.rcpt_to == (_TO,)


def chunks(client: smtplib.SMTP, *pieces: bytes) -> list[int]:
    client.mail("a@b.test")
    client.rcpt(_TO)
    codes = []
    for at, piece in enumerate(pieces):
        last = " LAST" if at == len(pieces) - 1 else ""
        client.send(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
        codes.append(client.getreply()[0])
    return codes


async def test_chunks_are_put_together_and_dots_left_alone(lab):
    lab.behaviour.add(Rule(action="offer", extensions=("CHUNKING",)))
    codes = await talk(lab, lambda c: chunks(c, _MESSAGE[:20], b"", _MESSAGE[20:]))
    assert codes == [250, 250, 250]
    (record,) = await lab.wait_for(1)
    assert record.size == len(_MESSAGE)
    assert lab.mailbox.get(1).octets == _MESSAGE


async def test_chunks_over_the_limit_are_read_and_refused(lab):
    lab.behaviour.add(Rule(action="offer", extensions=("CHUNKING",)))

    def over(client: smtplib.SMTP) -> list[int]:
        return [*chunks(client, b"x" * 60_000, b"x" * 60_000), client.noop()[0]]

    assert await talk(lab, over) == [250, 552, 250]
    assert lab.received == 0


async def test_chunks_where_none_were_offered_are_refused(lab):
    assert await talk(lab, lambda client: chunks(client, _MESSAGE)) == [503]


async def test_bdat_without_a_size_is_an_error_of_syntax(lab):
    assert (await talk(lab, lambda client: client.docmd("BDAT", "x LAST")))[0] == 501


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("expired", "has expired"),
        ("self-signed", "self.signed certificate"),
        ("wrong-name", "mismatch|not valid for"),
    ],
)
async def test_a_certificate_has_the_fault_it_was_told_to_have(lab, fault, why):
    lab.behaviour.add(Rule(action="tls", fault=fault))
    trusting = ssl.create_default_context(cafile=lab.authority_file)
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        await talk(lab, lambda client: client.starttls(context=trusting))
    assert lab.refusals[0].action == "tls"


async def test_a_good_certificate_is_good_for_the_name_that_is_asked_for(lab):
    trusting = ssl.create_default_context(cafile=lab.authority_file)

    def use(client: smtplib.SMTP, name: str) -> int:
        client._host = name  # what it asks for and checks
        return client.starttls(context=trusting)[0]

    for name in ("mx.dest.test", "127.0.0.1", "other.test"):
        assert await talk(lab, partial(use, name=name)) == 220


async def test_a_handshake_that_fails_ends_the_connection(lab):
    lab.behaviour.add(Rule(action="tls", fault="handshake", times=1))
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        await talk(lab, lambda client: client.starttls())
    assert (await talk(lab, lambda client: client.starttls()))[0] == 220


async def test_starttls_can_be_refused(lab):
    lab.behaviour.add(Rule(stage="starttls", reply="454 4.7.0 TLS not available"))
    code, _ = await talk(lab, lambda client: client.docmd("STARTTLS"))
    assert code == 454


async def test_starttls_that_was_hidden_is_not_understood(lab):
    lab.behaviour.add(Rule(action="hide", extensions=("STARTTLS",)))
    assert (await talk(lab, lambda client: client.docmd("STARTTLS")))[0] == 502


async def test_every_password_is_right_and_the_user_is_recorded(lab):
    def use(client: smtplib.SMTP) -> None:
        client.login("app", "whatever")
        client.sendmail("a@b.test", [_TO], _MESSAGE)

    await talk(lab, use)
    (record,) = await lab.wait_for(1)
    assert record.login == "app"


async def test_a_delay_is_waited_and_then_all_goes_on(lab):
    lab.behaviour.add(Rule(action="accept", stage="rcpt", delay=0.3))
    began = time.monotonic()
    await talk(lab, lambda client: client.sendmail("a@b.test", [_TO], _MESSAGE))
    assert time.monotonic() - began >= 0.3
    assert lab.received == 1
    assert not lab.refusals


async def test_a_message_is_read_as_slowly_as_told(lab):
    lab.behaviour.add(Rule(action="slow", octets_per_second=1_000))
    began = time.monotonic()
    await talk(
        lab,
        lambda client: client.sendmail("a@b.test", [_TO], _MESSAGE + b"x" * 400),
    )
    assert time.monotonic() - began >= 0.4


async def test_a_hang_with_a_time_ends_the_connection_after_it(lab):
    lab.behaviour.add(Rule(stage="rcpt", action="hang", seconds=0.2))
    with pytest.raises(smtplib.SMTPServerDisconnected):
        await talk(lab, lambda client: client.sendmail("a@b.test", [_TO], _MESSAGE))


@pytest.mark.parametrize("stage", ["connect", "banner"])
async def test_a_connection_can_end_before_the_banner(lab, stage):
    lab.behaviour.add(Rule(stage=stage, action="drop"))
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        await talk(lab, lambda client: None)


async def test_a_reply_of_several_lines_arrives_as_such(lab):
    lab.behaviour.add(
        Rule(recipient=_TO, code=550, enhanced="5.7.1", text=("One", "Two"))
    )
    code, text = await talk(
        lab, lambda client: (client.mail("a@b.test"), client.rcpt(_TO))[1]
    )
    assert (code, text) == (550, b"5.7.1 One\n5.7.1 Two")
