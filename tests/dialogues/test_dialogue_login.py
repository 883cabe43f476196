"""TLS and AUTH (cases 6-13)."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
import trustme

from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.fakes.submission import (
    HOST,
    MESSAGE,
    Client,
    desk,
    emptied,
    listening,
    talking,
)

STRICT = ListenerOptions(clear_login_on_loopback=False, failed_login_delay=timedelta(0))
GOOD = "AUTH PLAIN AGFjbWUAczNjcmV0"


def plain(user_name: str, secret: str) -> str:
    octets = f"\0{user_name}\0{secret}".encode()
    return "AUTH PLAIN " + base64.b64encode(octets).decode()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
async def secured(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[Client]:
    """A client at the banner of a listener with STARTTLS and no AUTH in clear."""
    async with listening(desk(), STRICT, tls=contexts[0]) as (_, port):
        client = await Client.connect(port)
        await client.reply()
        yield client
        await client.close()


async def test_case_006_what_is_pipelined_behind_starttls_is_thrown_away(
    secured: Client, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    await secured.say("EHLO c.example")
    secured.write(b"STARTTLS\r\nEHLO x.example\r\nMAIL FROM:<a@acme.example>\r\n")
    assert (await secured.reply()).startswith("220")
    await secured.start_tls(contexts[1])
    assert (await secured.say("RCPT TO:<r@d.example>")).startswith("503")
    assert (await secured.say("NOOP")).startswith("250")


async def test_case_007_starttls_inside_tls_is_refused(
    secured: Client, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    await secured.say("EHLO c.example")
    await secured.say("STARTTLS")
    await secured.start_tls(contexts[1])
    await secured.say("EHLO c.example")
    assert (await secured.say("STARTTLS")).startswith("503 5.5.1")
    assert (await secured.say(GOOD)).startswith("235")


async def test_case_008_nothing_said_before_tls_counts_after_it(
    secured: Client, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    assert "STARTTLS" in await secured.say("EHLO c.example")
    await secured.say("STARTTLS")
    await secured.start_tls(contexts[1])
    assert (await secured.say("MAIL FROM:<a@acme.example>")).startswith("503")
    said = await secured.say("EHLO c.example")
    assert "STARTTLS" not in said
    for extension in (
        "AUTH PLAIN LOGIN",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
    ):
        assert extension in said
    assert (await secured.say(GOOD)).startswith("235")
    assert (await secured.send(MESSAGE)).startswith("250")


async def test_a_listener_in_clear_offers_no_tls_though_another_has_a_certificate(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with listening(desk(), tls=contexts[0], starttls=False) as (_, port):
        client = await Client.connect(port)
        await client.reply()
        assert "STARTTLS" not in await client.say("EHLO c.example")
        assert (await client.say("STARTTLS")).startswith("502 5.5.1")
        await client.close()


async def test_case_009_auth_in_clear_is_neither_announced_nor_taken(
    secured: Client,
) -> None:
    assert "AUTH" not in await secured.say("EHLO c.example")
    assert (await secured.say(GOOD)).startswith("538 5.7.11")
    assert (await secured.say("MAIL FROM:<a@acme.example>")).startswith("530")


async def test_case_009_implicit_tls_announces_auth_and_not_starttls(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    one = desk()
    async with listening(one, STRICT, tls=contexts[0], implicit_tls=True) as (_, port):
        client = await Client.connect(port, contexts[1])
        await client.reply()
        said = await client.say("EHLO c.example")
        assert "AUTH PLAIN LOGIN" in said
        assert "STARTTLS" not in said
        assert (await client.say(GOOD)).startswith("235")
        assert (await client.send(MESSAGE)).startswith("250")
        await client.close()
    assert b"with ESMTPSA id" in one.spool.kept[0].content


async def test_case_038_a_tls_handshake_that_never_comes_is_closed(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    options = ListenerOptions(handshake_timeout=timedelta(milliseconds=100))
    one = desk()
    async with listening(one, options, tls=contexts[0], implicit_tls=True) as (
        server,
        port,
    ):
        client = await Client.connect(port)
        await client.closed()
        await emptied(server)
        await client.close()
    assert one.log.errors == []


async def test_case_010_guessing_ends_the_connection_then_bars_the_address() -> None:
    options = ListenerOptions(
        failed_login_delay=timedelta(0), max_failed_logins_per_address=6
    )
    one = desk()
    async with listening(one, options) as (_, port):
        for _ in range(2):
            client = await Client.connect(port)
            await client.reply()
            await client.say("EHLO c.example")
            for _ in range(3):
                assert (await client.say(plain("acme", "wrong"))).startswith(
                    "535 5.7.8"
                )
            assert (await client.reply()).startswith("421 4.7.0")
            assert await client.closed()
            await client.close()
        client = await Client.connect(port)
        await client.reply()
        await client.say("EHLO c.example")
        assert (await client.say(GOOD)).startswith("421 4.7.0")
        await client.close()
    assert len(one.directory.asked) == 6
    assert one.log.facts == [("login_failed", "acme")] * 6


async def test_case_011_013_wrong_secret_and_unknown_name_get_one_answer() -> None:
    async with talking(logged_in=False) as (client, _):
        await client.reply()
        await client.say("EHLO c.example")
        wrong = await client.say(plain("acme", "wrong"))
        assert wrong.startswith("535 5.7.8")
        assert await client.say(plain("nobody", "s3cret")) == wrong


async def test_case_012_malformed_auth_is_refused_and_good_auth_works_after_it() -> (
    None
):
    options = ListenerOptions(max_errors=50, failed_login_delay=timedelta(0))
    async with talking(options=options, logged_in=False) as (client, one):
        await client.reply()
        assert (await client.say(GOOD)).startswith("503")
        await client.say("EHLO c.example")
        for command, code in (
            ("AUTH", "501"),
            ("AUTH PLAIN !!!", "501 5.5.2"),
            ("AUTH PLAIN =", "501"),
            ("AUTH PLAIN AAAA", "501"),  # three NULs: four parts
            ("AUTH PLAIN a b", "501"),
            ("AUTH CRAM-MD5", "504 5.5.4"),
            ("AUTH PLAIN " + "A" * 12_400, "500 5.5.6"),
        ):
            said = await client.say(command)
            assert said.startswith(code), command
        assert (await client.say("AUTH PLAIN")) == "334 "
        assert (await client.say("*")).startswith("501 5.7.0")
        assert (await client.say("auth login")).startswith("334 VXNlcm5hbWU6")
        assert (await client.say("YWNtZQ==")).startswith("334 UGFzc3dvcmQ6")
        assert (await client.say("czNjcmV0")).startswith("235 2.7.0")
        assert (await client.say(GOOD)).startswith("503")
    assert one.directory.asked == [("acme", "s3cret")]


async def test_case_012_auth_has_no_place_inside_a_transaction() -> None:
    networks = (ip_network("127.0.0.0/8"),)
    one = desk(AcceptanceOptions(host_name=HOST, trusted_networks=networks))
    async with talking(one, logged_in=False) as (client, _):
        await client.reply()
        await client.say("EHLO c.example")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("250")
        assert (await client.say(GOOD)).startswith("503 5.5.1")
        await client.say("RSET")
        assert (await client.say(GOOD)).startswith("235")
    assert one.directory.asked == [("acme", "s3cret")]


async def test_auth_says_454_while_logins_cannot_be_checked() -> None:
    async with talking(logged_in=False) as (client, one):
        await client.reply()
        await client.say("EHLO c.example")
        one.directory.broken = StoreUnavailable("gone")
        assert (await client.say(GOOD)).startswith("454 4.7.0")
        one.directory.broken = None
        assert (await client.say(GOOD)).startswith("235")


async def test_case_059_a_revoked_credential_is_dead_at_the_next_mail() -> None:
    async with talking() as (client, one):
        assert (await client.send(MESSAGE)).startswith("250")
        (credential,) = {
            c.credential_id for c in [one.directory.users["acme", "s3cret"]]
        }
        one.directory.revoked.add(credential)
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
    assert len(one.spool.kept) == 1


async def test_a_revoked_client_has_time_to_log_in_anew() -> None:
    options = ListenerOptions(
        login_timeout=timedelta(seconds=1), failed_login_delay=timedelta(0)
    )
    async with talking(options=options) as (client, one):
        await asyncio.sleep(
            1.1
        )  # the time-out is over: a client that may send has it not
        one.directory.revoked = {one.directory.users["acme", "s3cret"].credential_id}
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530")
        one.directory.revoked = set()
        assert (await client.say(GOOD)).startswith("235")
        assert (await client.send(MESSAGE)).startswith("250")


async def test_case_009_a_secret_in_clear_is_for_loopback_alone_by_default() -> None:
    one = desk()
    options = ListenerOptions(failed_login_delay=timedelta(0))
    assert options.clear_login_on_loopback
    async with listening(one, options) as (server, port):
        client = await Client.connect(port)
        await client.reply()
        assert server._service is not None
        (session,) = server._service.sessions
        session._caller = replace(session._caller, client=ip_address("192.0.2.9"))
        assert "AUTH" not in await client.say("EHLO c.example")
        assert (await client.say(GOOD)).startswith("538 5.7.11")
        await client.close()
    assert one.directory.asked == []


async def test_case_012_a_line_that_is_none_gets_one_answer() -> None:
    async with talking(logged_in=False) as (client, _):
        await client.reply()
        await client.say("EHLO c.example")
        assert (await client.say("AUTH PLAIN")).startswith("334")
        client.write(b"AGFjbWUAczNjcmV0\n")
        assert (await client.reply()).startswith("500 5.5.2")
        assert (await client.say("NOOP")).startswith("250")
        assert (await client.say(GOOD)).startswith("235")


async def test_case_010_a_neighbours_guesses_do_not_bar_who_is_known() -> None:
    one = desk()

    async def login(port: int, user_name: str, secret: str) -> str:
        client = await Client.connect(port)
        await client.reply()
        await client.say("EHLO c.example")
        said = await client.say(plain(user_name, secret))
        await client.close()
        return said

    async with listening(one) as (_, port):
        assert (await login(port, "operator", "s3cret")).startswith("235")
        for _ in range(20):
            assert (await login(port, "acme", "wrong")).startswith("535")
        assert (await login(port, "acme", "s3cret")).startswith("421 4.7.0")
        assert (await login(port, "operator", "s3cret")).startswith("235")


async def test_case_038_039_a_handshake_counts_as_a_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    options = ListenerOptions(max_connections=2)
    serving, trusting = contexts
    async with listening(desk(), options, tls=serving, implicit_tls=True) as (
        server,
        port,
    ):
        silent = [await Client.connect(port) for _ in range(2)]
        async with asyncio.timeout(5):
            while server.connections < 2:
                await asyncio.sleep(0.005)
        third = await Client.connect(port)
        assert await third.closed()
        for client in (*silent, third):
            await client.close()
        await emptied(server)
        client = await Client.connect(port, trusting)
        assert (await client.reply()).startswith("220")
        assert server.connections == 1
        await client.close()
