"""swaks at listeners with and without TLS: what each asks for, and what it gets."""

from pathlib import Path

import pytest
import trustme

from tests.interop.house import ACME, SINK, House
from tests.interop.running import is_listening
from tests.interop.test_clients_swaks import WRONG_LOGIN, swaks

pytestmark = pytest.mark.asyncio(loop_scope="session")

_NO_TLS = 29  # swaks's exit code: TLS was required and not to be had


@pytest.mark.parametrize("optional", ["--tls-optional", "--tls-optional-strict"])
async def test_case_169_optional_tls_is_taken_where_it_is_offered(
    house: House, optional: str
) -> None:
    to = f"swaks{optional}@{SINK}"
    ended = await swaks(house, to, optional, port=house.starttls)
    assert ended.code == 0, ended.text
    (content,) = await house.aligned(ACME, to)
    assert b" with ESMTPSA id " in content


@pytest.mark.parametrize("optional", ["--tls-optional", "--tls-optional-strict"])
async def test_case_169_optional_tls_that_is_not_offered_is_done_without(
    house: House, optional: str
) -> None:
    to = f"swaks-clear{optional}@{SINK}"
    ended = await swaks(house, to, optional, port=house.clear)
    assert ended.code == 0, ended.text
    assert "STARTTLS" not in ended.out
    (content,) = await house.aligned(ACME, to)
    assert b" with ESMTPA id " in content


async def test_case_169_required_tls_that_is_not_offered_sends_nothing(
    house: House,
) -> None:
    ended = await swaks(house, f"nobody@{SINK}", "--tls", port=house.clear)
    assert ended.code == _NO_TLS, ended.text
    assert " -> AUTH" not in ended.out


async def test_case_169_tls_on_connect_at_a_clear_listener_fails_and_harms_nobody(
    house: House,
) -> None:
    ended = await swaks(house, f"nobody@{SINK}", "--tls-on-connect", port=house.clear)
    assert ended.code == _NO_TLS, ended.text
    assert await is_listening("127.0.0.1", house.clear)


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_case_169_a_certificate_of_another_authority_is_not_trusted(
    house: House, tmp_path: Path, security: str
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    words = ["--tls-verify", "--tls-ca-path", str(other)]
    words.append("--tls" if security == "starttls" else "--tls-on-connect")
    to = f"nobody@{SINK}"
    ended = await swaks(house, to, *words, port=house.port(security))
    assert ended.code == _NO_TLS, ended.text
    assert "verify" in ended.text


async def test_case_169_a_client_certificate_nobody_asked_for_changes_nothing(
    house: House, tmp_path: Path
) -> None:
    own = trustme.CA().issue_cert("client.example")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    own.cert_chain_pems[0].write_to_path(chain)
    own.private_key_pem.write_to_path(key)
    words = ("--tls", "--tls-cert", str(chain), "--tls-key", str(key))
    to = f"swaks-certificate@{SINK}"
    ended = await swaks(house, to, *words, port=house.starttls)
    assert ended.code == 0, ended.text
    await house.aligned(ACME, to)
    words += ("--auth-password", "guessed")
    ended = await swaks(house, f"nobody@{SINK}", *words, port=house.starttls)
    assert ended.code == WRONG_LOGIN, ended.text


@pytest.mark.parametrize("version", ["tlsv1_2", "tlsv1_3"])
async def test_case_169_both_present_versions_of_tls_are_spoken(
    house: House, version: str
) -> None:
    to = f"swaks-{version}@{SINK}"
    words = ("--tls", "--tls-protocol", version)
    ended = await swaks(house, to, *words, port=house.starttls)
    assert ended.code == 0, ended.text
    await house.aligned(ACME, to)


async def test_case_169_tls_1_1_is_refused(house: House) -> None:
    words = ("--tls", "--tls-protocol", "tlsv1_1", "--tls-cipher", "ALL:@SECLEVEL=0")
    ended = await swaks(house, f"nobody@{SINK}", *words, port=house.starttls)
    assert ended.code == _NO_TLS, ended.text


@pytest.mark.parametrize("step", ["connect", "ehlo", "auth", "mail", "rcpt", "data"])
async def test_case_169_a_client_that_hangs_up_leaves_nothing(
    house: House, step: str
) -> None:
    to = f"swaks-drop-{step}@{SINK}"
    ended = await swaks(house, to, "--drop-after", step, port=house.starttls)
    assert ended.code == 0, ended.text  # it was told to
    later = f"swaks-after-{step}@{SINK}"
    await swaks(house, later, port=house.starttls)
    await house.arrived(later)
    assert to not in [t for one in house.world.lab.records for t in one.rcpt_to]


async def test_case_169_a_long_body_arrives_whole(house: House, tmp_path: Path) -> None:
    to, body = f"swaks-long@{SINK}", tmp_path / "body"
    lines = "".join(f".{number} " + "x" * 900 + "\r\n" for number in range(5_000))
    body.write_text(lines, newline="")
    ended = await swaks(house, to, "--body", f"@{body}", "--suppress-data")
    assert ended.code == 0, ended.text[-500:]
    (content,) = await house.aligned(ACME, to)
    assert lines.encode() in content
