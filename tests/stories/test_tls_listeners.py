"""TLS at both doors: STARTTLS and implicit, AUTH refused in clear; and on the way out."""

import asyncio
import smtplib
import ssl
from pathlib import Path

import pytest
import trustme

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world

_LISTENERS = """
[[listeners]]
address = "127.0.0.1"
port = {starttls}
tls = "starttls"

[[listeners]]
address = "127.0.0.1"
port = {implicit}
tls = "implicit"

[tls]
certificate_file = "{directory}/server.pem"
private_key_file = "{directory}/server.key"
"""
_OFFERED = ("pipelining", "8bitmime", "smtputf8", "enhancedstatuscodes", "size")


async def test_a_secret_is_taken_over_tls_alone_and_mail_leaves_over_tls(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    ours, theirs = authority.issue_cert("127.0.0.1"), authority.issue_cert("sink.test")
    ours.private_key_pem.write_to_path(tmp_path / "server.key")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    sink_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.configure_cert(sink_tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    starttls, implicit = free_ports(2)
    listeners = _LISTENERS.format(
        starttls=starttls, implicit=implicit, directory=tmp_path
    )
    async with ready_world(
        tmp_path / "world",
        extra=listeners,
        environment={"SOBOO_SUBMISSION__CLEAR_LOGIN_ON_LOOPBACK": "false"},
        sink_tls=sink_tls,
    ) as place:
        await place.start_relay()
        await asyncio.to_thread(_refused_in_clear, place, place.port)
        await asyncio.to_thread(_refused_in_clear, place, starttls)
        await asyncio.to_thread(_by_starttls, place, starttls, trusting)
        await asyncio.to_thread(_by_implicit_tls, place, implicit, trusting)
        records = await place.lab.wait_for(2)
        assert {record.rcpt_to for record in records} == {
            ("ann@alpha.test",),
            ("bea@beta.test",),
        }
        assert all(record.tls for record in records)
        assert {record.verdict.dmarc for record in records} == {"pass"}
        assert place.secrets[USER] not in place.relay_log()


def _refused_in_clear(place: World, port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, "app.test", timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538
        assert client.mail(f"a@{DOMAIN}")[0] == 530


def _by_starttls(place: World, port: int, trusting: ssl.SSLContext) -> None:
    with smtplib.SMTP("127.0.0.1", port, "app.test", timeout=20) as client:
        client.starttls(context=trusting)
        client.ehlo()
        assert not client.has_extn("starttls")
        assert all(map(client.has_extn, _OFFERED))
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
        client.login(USER, place.secrets[USER])
        _send(client, "ann@alpha.test")


def _by_implicit_tls(place: World, port: int, trusting: ssl.SSLContext) -> None:
    with smtplib.SMTP_SSL(
        "127.0.0.1", port, "app.test", timeout=20, context=trusting
    ) as client:
        client.login(USER, place.secrets[USER])
        _send(client, "bea@beta.test")


def _send(client: smtplib.SMTP, recipient: str) -> None:
    author = f"a@{DOMAIN}"
    text = f"From: {author}\r\nTo: {recipient}\r\nSubject: TLS\r\n\r\nHello.\r\n"
    assert client.sendmail(author, [recipient], text) == {}
