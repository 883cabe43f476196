"""Mail libraries and programs of other languages as the application (case 172).

Go's asks for SMTPUTF8 wherever it is offered.
"""

import re
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import aiosmtplib
import pytest

from tests.interop.house import ACME, SECURITIES, SINK, House
from tests.interop.running import Ended, run
from tests.interop.test_clients_libraries import rich

pytestmark = pytest.mark.asyncio(loop_scope="session")

_HERE = Path(__file__).parent
_AUTHOR = f"news@{ACME}"
_NO_PERMISSION = 77  # EX_NOPERM: msmtp's word for a failed login
_LOGIN_DENIED = 67  # curl's
_UNTRUSTED = 60


def _plain(to: str) -> str:
    return f"From: {_AUTHOR}\nTo: {to}\nSubject: hello\n\nhello\n.dot\n"


async def phpmailer(house: House, security: str, secret: str, to: str) -> Ended:
    return await run(
        *("php", _HERE / "send_phpmailer.php", str(house.port(security)), security),
        *("acme-app", secret, _AUTHOR, to, house.authority),
    )


async def net_smtp(house: House, security: str, secret: str, to: str) -> Ended:
    return await run(
        *("go", "run", _HERE / "send_net_smtp.go"),
        *(str(house.port(security)), security, "acme-app", secret, _AUTHOR, to),
        house.authority,
    )


async def msmtp(house: House, security: str, secret: str, to: str) -> Ended:
    return await run(
        *("msmtp", "--host=localhost", f"--port={house.port(security)}"),
        *("--auth=plain", "--user=acme-app", f"--passwordeval=echo {secret}"),
        f"--tls={'off' if security == 'clear' else 'on'}",
        f"--tls-starttls={'on' if security == 'starttls' else 'off'}",
        *(f"--tls-trust-file={house.authority}", f"--from=bounces@{ACME}", to),
        stdin=_plain(to),
    )


async def curl(house: House, security: str, secret: str, to: str) -> Ended:
    scheme = "smtps" if security == "implicit" else "smtp"
    words = ("--ssl-reqd",) if security == "starttls" else ()
    return await run(
        *("curl", "--silent", "--show-error", *words, "--cacert", house.authority),
        *("--user", f"acme-app:{secret}", "--mail-from", f"bounces@{ACME}"),
        *("--mail-rcpt", to, "--upload-file", "-"),
        f"{scheme}://localhost:{house.port(security)}/app.example",
        stdin=_plain(to).replace("\n", "\r\n"),  # it sends what it is given
    )


_PROGRAMS: dict[str, Callable] = {
    "phpmailer": phpmailer,
    "net-smtp": net_smtp,
    "msmtp": msmtp,
    "curl": curl,
}
_DENIED = {
    "phpmailer": 1,
    "net-smtp": 1,
    "msmtp": _NO_PERMISSION,
    "curl": _LOGIN_DENIED,
}


@pytest.mark.parametrize("security", SECURITIES)
@pytest.mark.parametrize("program", _PROGRAMS)
async def test_case_172_a_program_sends_by_each_kind_of_tls(
    house: House, program: str, security: str
) -> None:
    to = f"{program}-{security}@{SINK}"
    ended = await _PROGRAMS[program](house, security, house.secret, to)
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    spoken = re.search(rb" with (?:ESMTP|UTF8SMTP)(S?)A id ", content)
    assert spoken, content
    assert (spoken[1] == b"S") == (security != "clear")
    assert b"\r\n.dot\r\n" in content


@pytest.mark.parametrize("program", _PROGRAMS)
async def test_case_172_a_program_is_told_that_its_password_is_wrong(
    house: House, program: str
) -> None:
    ended = await _PROGRAMS[program](house, "starttls", "guessed", f"nobody@{SINK}")
    assert ended.code == _DENIED[program], ended.text


async def test_case_172_phpmailer_reaches_its_bcc_and_shows_it_to_nobody(
    house: House,
) -> None:
    to = f"phpmailer-hidden@{SINK}"
    ended = await phpmailer(house, "implicit", house.secret, to)
    assert ended.code == 0, ended.text
    for content in await house.aligned(ACME, to, f"bcc-{to}"):
        message = message_from_bytes(content, EmailMessage, policy=default)
        assert message["Subject"] == "PHPMailer: grüße"
        assert b"bcc" not in content.lower()


async def test_case_172_curl_trusts_no_other_authority(house: House) -> None:
    ended = await run(
        *("curl", "--silent", "--show-error", "--ssl-reqd", "--mail-from", _AUTHOR),
        *("--mail-rcpt", f"nobody@{SINK}", "--upload-file", "-"),
        f"smtp://localhost:{house.starttls}/app.example",
        stdin="Subject: x\r\n\r\nx\r\n",
    )
    assert ended.code == _UNTRUSTED, ended.text


@pytest.mark.parametrize("security", SECURITIES)
async def test_case_171_aiosmtplib_sends_several_messages_at_once(
    house: House, security: str
) -> None:
    several = [f"aiosmtplib-{security}-{number}@{SINK}" for number in range(5)]
    client = aiosmtplib.SMTP(
        hostname="localhost",
        port=house.port(security),
        use_tls=security == "implicit",
        start_tls=security == "starttls",
        cert_bundle=str(house.authority),
        username="acme-app",
        password=house.secret,
    )
    async with client:
        for to in several:
            errors, _ = await client.send_message(rich(to), recipients=[to])
            assert errors == {}
    await house.aligned(ACME, *several)
