"""AUTH EXTERNAL: a client certificate instead of a secret (RFC 4422, RFC 4954)."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

import pytest
import trustme

from soboo_mta.mail.ids import CredentialId
from soboo_mta.store.unit import StoreUnavailable
from tests.fakes.submission import (
    ACME,
    MESSAGE,
    Client,
    Desk,
    FakeCredential,
    desk,
    emptied,
    listening,
)

APP = FakeCredential(CredentialId(7), ACME)


@dataclass(frozen=True)
class Authorities:
    """The server's, the clients' that it trusts, and a stranger's."""

    server: trustme.CA
    clients: trustme.CA
    stranger: trustme.CA

    def serving(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.issue_cert("localhost").configure_cert(context)
        self.clients.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def asking(self, shown: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.server.configure_trust(context)
        if shown is not None:
            shown.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities(trustme.CA(), trustme.CA(), trustme.CA())


def fingerprint(certificate: trustme.LeafCert) -> str:
    pem = certificate.cert_chain_pems[0].bytes().decode()
    return "sha256:" + sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@asynccontextmanager
async def inside_tls(
    one: Desk, authorities: Authorities, shown: trustme.LeafCert | None
) -> AsyncIterator[tuple[Client, str]]:
    """A client that showed a certificate and has said EHLO, and what it was answered."""
    serving = authorities.serving()
    async with listening(one, implicit_tls=True, own_tls=serving) as (_, port):
        client = await Client.connect(port, authorities.asking(shown))
        try:
            await client.reply()
            yield client, await client.say("EHLO c.example")
        finally:
            await client.close()


def issued(authorities: Authorities, kind: str) -> tuple[trustme.LeafCert, str]:
    """A certificate, and the name in it that this kind of binding means."""
    clients = authorities.clients
    match kind:
        case "fingerprint":
            shown = clients.issue_cert("any.example")
            return shown, fingerprint(shown)
        case "host name":
            return clients.issue_cert("x.example", "Mailer.Acme.example"), (
                "mailer.acme.example"
            )
        case "mailbox":
            return clients.issue_cert("app@acme.example"), "app@acme.example"
        case _:
            return clients.issue_cert(common_name="Acme App"), "acme app"


@pytest.mark.parametrize("kind", ["fingerprint", "host name", "mailbox", "common name"])
async def test_a_certificate_logs_in_as_the_credential_it_is_bound_to(
    authorities: Authorities, kind: str
) -> None:
    shown, name = issued(authorities, kind)
    one = desk()
    one.directory.certificates[name] = APP
    async with inside_tls(one, authorities, shown) as (client, said):
        assert "AUTH PLAIN LOGIN EXTERNAL" in said
        assert (await client.say("AUTH EXTERNAL =")).startswith("235 2.7.0")
        assert (await client.say("AUTH EXTERNAL =")).startswith("503")
        assert (await client.send(MESSAGE)).startswith("250")
    assert one.spool.kept[0].credential == APP.credential_id
    assert b"with ESMTPSA id" in one.spool.kept[0].content


async def test_a_common_name_beside_names_of_the_subject_does_not_count(
    authorities: Authorities,
) -> None:
    shown = authorities.clients.issue_cert("x.example", common_name="Acme App")
    one = desk()
    one.directory.certificates["acme app"] = APP
    async with inside_tls(one, authorities, shown) as (client, _):
        assert (await client.say("AUTH EXTERNAL =")).startswith("535 5.7.8")


async def test_the_user_name_is_asked_for_and_may_be_empty_but_not_anothers(
    authorities: Authorities,
) -> None:
    shown, name = issued(authorities, "host name")
    one = desk()
    one.directory.certificates[name] = APP
    one.directory.names[APP.credential_id] = "acme"
    async with inside_tls(one, authorities, shown) as (client, _):
        wrong = b64encode(b"operator").decode()
        assert (await client.say(f"AUTH EXTERNAL {wrong}")).startswith("535 5.7.8")
        assert (await client.say("AUTH EXTERNAL !")).startswith("501 5.5.2")
        assert (await client.say("AUTH EXTERNAL")) == "334 "
        assert (await client.say("*")).startswith("501 5.7.0")
        assert (await client.say("auth external")) == "334 "
        assert (await client.say(b64encode(b"acme"))).startswith("235")
    assert ("login_failed", "operator") in one.log.facts


async def test_a_certificate_bound_to_nobody_fails_three_times_and_is_closed(
    authorities: Authorities,
) -> None:
    shown, _ = issued(authorities, "host name")
    one = desk()
    async with inside_tls(one, authorities, shown) as (client, _):
        for _ in range(3):
            assert (await client.say("AUTH EXTERNAL =")).startswith("535 5.7.8")
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.closed()


async def test_without_a_certificate_the_secret_is_the_way(
    authorities: Authorities,
) -> None:
    async with inside_tls(desk(), authorities, None) as (client, said):
        assert "AUTH PLAIN LOGIN" in said
        assert "EXTERNAL" not in said
        assert (await client.say("AUTH EXTERNAL =")).startswith("504 5.5.4")
        assert (await client.say("AUTH PLAIN AGFjbWUAczNjcmV0")).startswith("235")


async def test_a_strangers_certificate_ends_the_handshake(
    authorities: Authorities,
) -> None:
    one, serving = desk(), authorities.serving()
    shown = authorities.stranger.issue_cert("mailer.acme.example")
    one.directory.certificates["mailer.acme.example"] = APP
    async with listening(one, implicit_tls=True, own_tls=serving) as (server, port):
        client = await Client.connect(port, authorities.asking(shown))
        assert await client.reply() == ""
        await client.close()
        await emptied(server)
    assert one.log.errors == []


async def test_after_starttls_a_certificate_logs_in_too_and_not_before(
    authorities: Authorities,
) -> None:
    shown, name = issued(authorities, "host name")
    one = desk()
    one.directory.certificates[name] = APP
    async with listening(one, own_tls=authorities.serving()) as (_, port):
        client = await Client.connect(port)
        await client.reply()
        said = await client.say("EHLO c.example")
        assert "STARTTLS" in said
        assert "EXTERNAL" not in said
        assert (await client.say("AUTH EXTERNAL =")).startswith("504")
        await client.say("STARTTLS")
        await client.start_tls(authorities.asking(shown))
        assert "EXTERNAL" in await client.say("EHLO c.example")
        assert (await client.say("AUTH EXTERNAL =")).startswith("235")
        await client.close()


async def test_a_listener_that_asks_for_none_takes_no_certificate(
    authorities: Authorities,
) -> None:
    shown, name = issued(authorities, "host name")
    one = desk()
    one.directory.certificates[name] = APP
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authorities.server.issue_cert("localhost").configure_cert(serving)
    async with listening(one, implicit_tls=True, tls=serving) as (_, port):
        client = await Client.connect(port, authorities.asking(shown))
        await client.reply()
        assert "EXTERNAL" not in await client.say("EHLO c.example")
        assert (await client.say("AUTH EXTERNAL =")).startswith("504")
        await client.close()


async def test_case_059_a_revoked_credentials_certificate_is_dead_at_the_next_mail(
    authorities: Authorities,
) -> None:
    shown, name = issued(authorities, "host name")
    one = desk()
    one.directory.certificates[name] = APP
    async with inside_tls(one, authorities, shown) as (client, _):
        await client.say("AUTH EXTERNAL =")
        assert (await client.send(MESSAGE)).startswith("250")
        one.directory.revoked.add(APP.credential_id)
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
        assert (await client.say("AUTH EXTERNAL =")).startswith("535")
    assert len(one.spool.kept) == 1


async def test_while_the_store_is_away_a_certificate_gets_454(
    authorities: Authorities,
) -> None:
    shown, name = issued(authorities, "host name")
    one = desk()
    one.directory.certificates[name] = APP
    async with inside_tls(one, authorities, shown) as (client, _):
        one.directory.broken = StoreUnavailable("gone")
        assert (await client.say("AUTH EXTERNAL =")).startswith("454 4.7.0")
        one.directory.broken = None
        assert (await client.say("AUTH EXTERNAL =")).startswith("235")
