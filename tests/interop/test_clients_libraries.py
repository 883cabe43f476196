"""Mail libraries as the application: Python's smtplib, nodemailer, Django's backend."""

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, default
from pathlib import Path

import pytest

from tests.interop.house import ACME, SECURITIES, SINK, House
from tests.interop.running import run

pytestmark = pytest.mark.asyncio(loop_scope="session")

_HERE = Path(__file__).parent
_AUTHOR = f"Acme <news@{ACME}>"


def rich(to: str) -> EmailMessage:
    """Text and HTML with umlauts, and an attachment of every octet."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = _AUTHOR, to, "Grüße"
    message["Bcc"] = f"secret@{SINK}"
    message.set_content("Schöne Grüße!\n.a line that begins with a dot\n")
    message.add_alternative("<p>Schöne <b>Grüße</b></p>", subtype="html")
    every = bytes(range(256)) * 40
    message.add_attachment(every, maintype="application", subtype="pdf", filename="ä")
    return message


def client(house: House, security: str) -> smtplib.SMTP:
    """A client that is logged in; it verifies the certificate."""
    context = ssl.create_default_context(cafile=str(house.authority))
    port = house.port(security)
    if security == "implicit":
        opened: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port, context=context)
    else:
        opened = smtplib.SMTP("localhost", port)
    if security == "starttls":
        opened.starttls(context=context)
    opened.login("acme-app", house.secret)
    return opened


async def with_client(
    house: House, security: str, act: Callable[[smtplib.SMTP], None]
) -> None:
    """Do `act` with a client, beside the loop that runs the sinks."""

    def in_thread() -> None:
        with client(house, security) as opened:
            act(opened)

    await asyncio.to_thread(in_thread)


@pytest.mark.parametrize("security", SECURITIES)
async def test_case_171_smtplib_sends_several_messages_on_a_connection(
    house: House, security: str
) -> None:
    several = [f"smtplib-{security}-{number}@{SINK}" for number in range(3)]

    def act(opened: smtplib.SMTP) -> None:
        for to in several:
            opened.send_message(rich(to), to_addrs=[to])

    await with_client(house, security, act)
    for content in await house.aligned(ACME, *several):
        assert b"Bcc" not in content
        assert b"\r\n.a line that begins with a dot\r\n" in content


async def test_case_171_smtplib_reaches_many_recipients_of_one_message(
    house: House,
) -> None:
    many = [f"smtplib-many-{number:02}@{SINK}" for number in range(25)]
    await with_client(
        house, "clear", lambda opened: opened.send_message(rich(SINK), to_addrs=many)
    )
    await house.aligned(ACME, *many)


async def test_case_171_smtplib_speaks_smtputf8(house: House) -> None:
    to = f"smtplib-josé@{SINK}"
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = Address("Grüße", "news", ACME)
    message["To"] = to
    message["Subject"] = "Ünïcode"
    message.set_content("Grüße\n", cte="8bit")
    await with_client(house, "clear", lambda opened: opened.send_message(message))
    (content,) = await house.aligned(ACME, to)
    assert f"To: {to}\r\n".encode() in content


async def test_case_171_smtplib_names_the_one_recipient_that_was_refused(
    house: House,
) -> None:
    to = f"smtplib-refused@{SINK}"
    refused: dict[str, tuple[int, bytes]] = {}

    def act(opened: smtplib.SMTP) -> None:
        content = rich(to).as_bytes(policy=SMTP)  # sendmail leaves octets alone
        refused.update(opened.sendmail(f"b@{ACME}", [to, "a@b@c"], content))

    await with_client(house, "clear", act)
    assert [(name, code) for name, (code, _) in refused.items()] == [("a@b@c", 501)]
    await house.aligned(ACME, to)


async def test_case_171_smtplib_sends_a_large_message(house: House) -> None:
    to = f"smtplib-large@{SINK}"
    message = rich(to)
    message.add_attachment(bytes(8_000_000), maintype="application", subtype="zip")
    await with_client(house, "starttls", lambda opened: opened.send_message(message))
    (content,) = await house.aligned(ACME, to)
    assert len(content) > 10_000_000


@pytest.mark.parametrize("security", SECURITIES)
async def test_case_172_nodemailer_sends_html_with_an_attachment(
    house: House, security: str
) -> None:
    to = f"nodemailer-{security}@{SINK}"
    port = house.port(security)
    ended = await run(
        *("node", _HERE / "send_nodemailer.mjs", str(port), security),
        *("acme-app", house.secret, _AUTHOR, to),
        env={"NODE_EXTRA_CA_CERTS": str(house.authority)},
    )
    assert ended.code == 0, ended.text
    assert ended.out.startswith("250 2.0.0 Accepted as ")
    (content,) = await house.aligned(ACME, to)
    assert b"Content-Type: text/html; charset=utf-8" in content


async def test_case_172_nodemailer_is_told_that_its_password_is_wrong(
    house: House,
) -> None:
    ended = await run(
        *("node", _HERE / "send_nodemailer.mjs", str(house.clear), "clear"),
        *("acme-app", "guessed", _AUTHOR, f"nobody@{SINK}"),
    )
    assert ended.code != 0
    assert "EAUTH" in ended.text
    assert "535" in ended.text


@pytest.mark.parametrize("security", SECURITIES)
async def test_case_171_django_sends_html_with_an_attachment(
    house: House, security: str
) -> None:
    to = f"django-{security}@{SINK}"
    port = house.port(security)
    ended = await run(
        *("/usr/bin/python3", _HERE / "send_django.py", str(port), security),
        *("acme-app", house.secret, _AUTHOR, to),
    )
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    assert message_from_bytes(content, policy=default)["Subject"] == "Django: grüße"
