"""swaks as the application: how it logs in, what it sends, what it is told."""

import pytest

from tests.interop.house import ACME, SINK, House
from tests.interop.running import Ended, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRONG_LOGIN = 28  # swaks's exit codes
_REFUSED_RECIPIENTS = 24
_REFUSED_MESSAGE = 26


async def swaks(house: House, to: str, *words: str, port: int | None = None) -> Ended:
    """Send one message; words given later win over those here."""
    return await run(
        *("swaks", "--server", f"127.0.0.1:{port or house.clear}", "--to", to),
        *("--from", f"bounces@{ACME}", "--h-From", f"Acme <news@{ACME}>"),
        *("--auth", "PLAIN", "--auth-user", "acme-app"),
        *("--auth-password", house.secret, "--timeout", "20", *words),
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_case_169_swaks_logs_in_on_loopback(house: House, mechanism: str) -> None:
    to = f"swaks-{mechanism.lower()}@{SINK}"
    ended = await swaks(house, to, "--auth", mechanism, "--body", "hello from swaks")
    assert ended.code == 0, ended.text
    assert f"AUTH {mechanism}" in ended.out
    (content,) = await house.aligned(ACME, to)
    assert b"\r\nhello from swaks\r\n" in content


async def test_case_169_swaks_sends_after_starttls_with_a_verified_certificate(
    house: House,
) -> None:
    to = f"swaks-starttls@{SINK}"
    trust = ("--tls-verify", "--tls-ca-path", str(house.authority))
    ended = await swaks(house, to, "--tls", *trust, port=house.starttls)
    assert ended.code == 0, ended.text
    assert "=== TLS started" in ended.out
    (content,) = await house.aligned(ACME, to)
    assert b" with ESMTPSA id " in content


async def test_case_169_swaks_sends_over_implicit_tls(house: House) -> None:
    to = f"swaks-implicit@{SINK}"
    trust = ("--tls-verify", "--tls-ca-path", str(house.authority))
    words = ("--tls-on-connect", "--auth", "LOGIN", *trust)
    ended = await swaks(house, to, *words, port=house.implicit)
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    assert b" with ESMTPSA id " in content


async def test_case_169_swaks_sends_commands_in_one_go(house: House) -> None:
    to = f"swaks-pipeline@{SINK}"
    ended = await swaks(house, to, "--pipeline")
    assert ended.code == 0, ended.text
    await house.aligned(ACME, to)


async def test_case_169_swaks_sends_utf8_as_it_stands(house: House) -> None:
    to = f"swaks-utf8@{SINK}"
    words = ("--h-Subject", "Grüße aus Köln", "--body", "Käse, Öl und 寿司")
    ended = await swaks(house, to, *words)
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    assert "Subject: Grüße aus Köln\r\n".encode() in content
    assert "\r\nKäse, Öl und 寿司\r\n".encode() in content


async def test_case_169_swaks_sends_an_attachment(house: House) -> None:
    to = f"swaks-attachment@{SINK}"
    words = ("--attach-type", "image/png", "--attach", "x" * 300)
    ended = await swaks(house, to, *words, "--body", "with an attachment")
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    assert b"Content-Type: multipart/mixed" in content
    assert b"Content-Type: image/png" in content


async def test_case_169_swaks_sends_from_the_null_reverse_path(house: House) -> None:
    to = f"swaks-null@{SINK}"
    ended = await swaks(house, to, "--from", "<>")
    assert ended.code == 0, ended.text
    await house.aligned(ACME, to)


async def test_case_169_swaks_reaches_several_recipients_each_with_its_own_copy(
    house: House,
) -> None:
    several = [f"swaks-several-{number}@{SINK}" for number in range(3)]
    ended = await swaks(house, ",".join(several))
    assert ended.code == 0, ended.text
    await house.aligned(ACME, *several)
    paths = {record.mail_from for record in await house.arrived(*several)}
    assert len(paths) == len(several)  # one signed reverse-path a recipient


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_case_169_swaks_is_told_that_its_password_is_wrong(
    house: House, mechanism: str
) -> None:
    words = ("--auth", mechanism, "--auth-password", "guessed")
    ended = await swaks(house, f"nobody@{SINK}", *words)
    assert ended.code == WRONG_LOGIN, ended.text
    assert "<** 535 5.7.8 " in ended.out


async def test_case_169_swaks_is_told_that_an_author_is_not_its_own(
    house: House,
) -> None:
    ended = await swaks(house, f"nobody@{SINK}", "--h-From", "ceo@nordwind.example")
    assert ended.code == _REFUSED_MESSAGE, ended.text
    assert "<** 550 5.7.1 The From domain nordwind.example" in ended.out


async def test_case_169_swaks_is_told_that_a_recipient_is_no_address(
    house: House,
) -> None:
    ended = await swaks(house, "no one@")
    assert ended.code == _REFUSED_RECIPIENTS, ended.text
    assert "<** 501 5.1.3 " in ended.out
