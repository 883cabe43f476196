"""What the return listener says to whoever brings something back."""

import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from sqlalchemy import Engine

from soboo_mta.mail.domain import Domain
from soboo_mta.spool.returned.view import ReturnFilter, content, list_returns
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import Writer
from soboo_mta.submission.options import ListenerOptions
from tests.fakes.clock import FakeClock
from tests.fakes.returns import ReturnDesk, return_desk, returns_listening
from tests.fakes.submission import Client
from tests.fakes.tenancy import with_domain, with_tenants
from tests.unit.formats.returned_examples import dsn, mail

UNKNOWN = dsn(
    "Reporting-MTA: dns; mx.there.example\n\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1\n"
)


@pytest.fixture
def engine(sqlite_url: str) -> Engine:
    return open_engine(sqlite_url)


@pytest.fixture
def one(writer: Writer, clock: FakeClock) -> ReturnDesk:
    return return_desk(writer, clock)


@pytest.fixture
async def client(one: ReturnDesk) -> AsyncIterator[Client]:
    async with returns_listening(one) as (_, port):
        client = await Client.connect(port)
        assert (await client.reply()).startswith("220 mx.esp.example ESMTP")
        yield client
        await client.close()


async def kept(one: ReturnDesk) -> list[tuple[str, str, bytes | None]]:
    """Door, reverse-path and octets of all returns."""

    def read(at: object) -> list[tuple[str, str, bytes | None]]:
        found = list_returns(at, ReturnFilter(), limit=100)  # type: ignore[arg-type]
        return [
            (r.door, r.reverse_path, content(at, r.returned_id))  # type: ignore[arg-type]
            for r in reversed(found)
        ]

    return await one.writer.read(read)


async def brought(client: Client, octets: bytes, *to: str, sender: str = "") -> str:
    """One transaction; the reply to its last dot, or to what was refused before."""
    said = await client.say(f"MAIL FROM:<{sender}>")
    for address in to:
        said = await client.say(f"RCPT TO:<{address}>")
    if not said.startswith("250"):
        return said
    assert (await client.say("DATA")).startswith("354")
    client.write(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return await client.reply()


async def test_a_bounce_is_kept_before_its_250(one: ReturnDesk, client: Client) -> None:
    said = await client.say("EHLO mx.there.example")
    offers = {line[4:].split()[0] for line in said.split("\n")[1:]}
    assert offers == {
        *("SIZE", "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "HELP")
    }
    assert await brought(client, UNKNOWN, one.address()) == "250 2.0.0 Kept"
    assert await kept(one) == [("recipient", "", UNKNOWN)]


@pytest.mark.parametrize(
    "address",
    [
        "nobody@esp.example",
        "postmaster@stranger.example",
        "b-0@bounce.customer.com",
        "b-" + "0a" * 20 + "@bounce.customer.com",
        "fbl@other.example",
    ],
)
async def test_case_104_what_is_not_ours_is_refused_at_rcpt(
    one: ReturnDesk, client: Client, address: str
) -> None:
    await client.say("EHLO x.example")
    said = await brought(client, UNKNOWN, address)
    assert said == "550 5.1.1 There is no such address here"
    assert (await client.say("DATA")).startswith("503")
    assert await kept(one) == []


async def test_case_094_a_signed_address_changed_by_one_letter_is_refused(
    one: ReturnDesk, client: Client
) -> None:
    await client.say("EHLO x.example")
    await client.say("MAIL FROM:<>")
    local, _, domain = one.address().partition("@")
    other = "0" if local[-1] != "0" else "1"
    for forged in (f"{local[:-1]}{other}@{domain}", f"{local}@other.example"):
        assert (await client.say(f"RCPT TO:<{forged}>")).startswith("550 5.1.1")
    assert (await client.say(f"RCPT TO:<{one.address()}>")).startswith("250")


@pytest.mark.parametrize("sender", ["bob@there.example", "robot@other.example", ""])
async def test_mail_to_an_unsubscribe_address_is_taken_from_anybody(
    one: ReturnDesk, client: Client, sender: str
) -> None:
    await client.say("EHLO x.example")
    wish = mail("", Subject="unsubscribe")
    address = one.unsubscribe_address()
    assert await brought(client, wish, address, sender=sender) == "250 2.0.0 Kept"
    assert await kept(one) == [("unsubscribe", sender, wish)]


async def test_case_094_a_signed_address_of_another_use_is_refused(
    one: ReturnDesk, client: Client, clock: FakeClock
) -> None:
    await client.say("EHLO x.example")
    await client.say("MAIL FROM:<>")
    path, wish = one.address(), one.unsubscribe_address()
    other = "0" if wish[20] != "0" else "1"
    for forged in (
        f"u-{path[2:]}",
        f"b-{wish[2:]}",
        f"{wish[:20]}{other}{wish[21:]}",
        wish.replace("@", "@x"),
    ):
        assert (await client.say(f"RCPT TO:<{forged}>")).startswith("550 5.1.1")
    assert (await client.say(f"RCPT TO:<{wish}>")).startswith("250")
    clock.advance(2 * 86_400)
    assert (await client.say(f"RCPT TO:<{wish}>")).startswith("550 5.1.1")
    assert await kept(one) == []


async def test_case_094_who_guesses_addresses_is_cut_off(client: Client) -> None:
    await client.say("EHLO x.example")
    await client.say("MAIL FROM:<>")
    for number in range(5):
        said = await client.say(f"RCPT TO:<b-{number:040}@bounce.customer.com>")
        assert said.startswith("550")
    said = await client.say("RCPT TO:<x@bounce.customer.com>")
    assert said.startswith("421")
    assert await client.closed()


async def test_case_107_postmaster_and_abuse_are_there_for_our_domains_and_bounce_hosts(
    one: ReturnDesk, client: Client
) -> None:
    await one.writer.transact(with_tenants)
    made = await one.writer.transact(lambda at: with_domain(at))
    host = made.bounce_domain
    await client.say("HELO x.example")
    for to in (
        "postmaster",
        "Postmaster@esp.example",
        "ABUSE@ESP.example",
        f"postmaster@{host}",
    ):
        said = await brought(client, b"Subject: x\r\n\r\n", to, sender="a@b.example")
        assert said.startswith("250"), to
    assert [door for door, _, _ in await kept(one)] == [
        *("postmaster", "postmaster", "abuse", "postmaster")
    ]
    assert Domain(f"x{host}") != host
    said = await brought(client, b"", f"postmaster@x{host}")
    assert said.startswith("550")


async def test_reports_come_to_their_registered_addresses(
    one: ReturnDesk, client: Client
) -> None:
    await client.say("EHLO x.example")
    for to in ("fbl@esp.example", "DMARC@esp.example"):
        said = await brought(client, b"Subject: x\r\n\r\n", to, sender="a@b.example")
        assert said.startswith("250")
    assert [door for door, _, _ in await kept(one)] == ["feedback", "dmarc"]


async def test_case_103_what_loops_ends(one: ReturnDesk, client: Client) -> None:
    await client.say("EHLO x.example")
    looping = b"Received: by a.example; today\r\n" * 51 + UNKNOWN
    said = await brought(client, looping, one.address())
    assert said.startswith("554 5.4.6")
    assert (await brought(client, UNKNOWN, one.address())).startswith("250")


async def test_case_108_nobody_logs_in_and_nothing_is_relayed(client: Client) -> None:
    await client.say("EHLO x.example")
    assert (await client.say("AUTH PLAIN AGFjbWUAczNjcmV0")).startswith("502")
    for abroad in (
        "ann@elsewhere.example",
        "ann%elsewhere.example@esp.example",
        '"ann@elsewhere.example"@esp.example',
        "elsewhere.example!ann@esp.example",
    ):
        said = await brought(client, b"", abroad, sender="a@b.example")
        assert said.startswith("550 5.1.1"), abroad
    said = await client.say("RCPT TO:<@esp.example:ann@elsewhere.example>")
    assert said.startswith("501")


async def test_case_105_a_return_that_is_too_large_is_refused_and_the_session_goes_on(
    one: ReturnDesk, client: Client
) -> None:
    await client.say("EHLO x.example")
    said = await client.say("MAIL FROM:<> SIZE=2000001")
    assert said.startswith("552 5.3.4")
    octets = (b"x" * 998 + b"\r\n") * 2_001
    said = await brought(client, octets, one.address())
    assert said.startswith("552 5.3.4")
    assert (await brought(client, UNKNOWN, one.address())).startswith("250")
    assert len(await kept(one)) == 1


async def test_a_large_return_is_kept_whole(one: ReturnDesk, client: Client) -> None:
    await client.say("EHLO x.example")
    octets = mail("\r\n".join(f".line {n}" for n in range(100_000)))
    assert (await brought(client, octets, one.address())).startswith("250")
    assert [found for _, _, found in await kept(one)] == [octets]


async def test_over_tls_the_session_begins_anew(one: ReturnDesk) -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with returns_listening(one, tls=serving) as (_, port):
        client = await Client.connect(port)
        await client.reply()
        assert "250-STARTTLS" in await client.say("EHLO x.example")
        await client.say("MAIL FROM:<>")
        assert (await client.say("STARTTLS")).startswith("220")
        await client.start_tls(trusting)
        assert (await client.say("MAIL FROM:<>")).startswith("503")
        assert "STARTTLS" not in await client.say("EHLO x.example")
        assert (await brought(client, UNKNOWN, one.address())).startswith("250")
        await client.close()

    found = await one.writer.read(lambda at: list_returns(at, ReturnFilter(), limit=9))
    assert [(r.protocol, r.client_name) for r in found] == [("ESMTPS", "x.example")]


async def test_of_a_client_no_more_connections_are_served_than_are_allowed(
    one: ReturnDesk,
) -> None:
    bounds = ListenerOptions(max_connections_per_address=2)
    async with returns_listening(one, bounds) as (_, port):
        clients = [await Client.connect(port) for _ in range(3)]
        greetings = sorted([await client.reply() for client in clients])
        assert [said[:3] for said in greetings] == ["220", "220", "421"]
        for client in clients:
            await client.close()


async def test_where_the_store_fails_nothing_is_promised(
    one: ReturnDesk, client: Client
) -> None:
    await client.say("EHLO x.example")
    await one.writer.close()
    assert (await brought(client, UNKNOWN, one.address())).startswith("451 4.3.0")
    assert len(one.log.errors) == 1
