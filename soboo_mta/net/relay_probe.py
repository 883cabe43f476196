"""Tries a customer's relay or mailbox over aiosmtplib (ports.RelayProbe); sends nothing.

The customer chose the server's name, so what it leads to is not believed: a private address
is never connected to, unless the settings are those of a lab. The certificate is verified
against the name before anything secret is said (RFC 8314 §3, RFC 4954 §4).
"""

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import aiosmtplib

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.way_out import (
    CustomerMailbox,
    MailboxAuth,
    RelayTls,
    Secret,
    SubmissionServer,
    WayOut,
)
from soboo_mta.net.smtp_client.opening import Client
from soboo_mta.ports import (
    Found,
    HopAddress,
    IpAddress,
    MxRecord,
    Probed,
    ProbeStep,
    RecordType,
    Resolver,
    SmtpTimeouts,
    Unanswered,
)
from soboo_mta.transfer.routing.hosts import is_nowhere, is_private

PROBE_TIMEOUTS: Final = SmtpTimeouts(
    connect=timedelta(seconds=10),
    banner=timedelta(seconds=30),
    command=timedelta(seconds=30),
)
"""Somebody waits for the answer: shorter than those of delivery."""
_WHOLE: Final = timedelta(minutes=2)
_MAX_ADDRESSES: Final = 4  # of one name that are tried
# PLAIN first: the session is encrypted, and a server's CRAM-MD5 is often a leftover.
_PASSWORD_METHODS: Final = ("plain", "login", "cram-md5")
_TOKEN_METHODS: Final = ("xoauth2",)
_SHOWN_OFFERS: Final = ("dsn", "8bitmime", "smtputf8", "size", "pipelining")


class SmtpRelayProbe:
    """Probes one server at a time; keeps no connection."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        timeouts: SmtpTimeouts = PROBE_TIMEOUTS,
        whole: timedelta = _WHOLE,
        verifying: ssl.SSLContext | None = None,
        private_destinations: bool = False,
    ) -> None:
        """`whole` bounds all of a probe; `verifying` None: the system's authorities."""
        self._resolver = resolver
        self._timeouts = timeouts
        self._whole = whole
        self._verifying = verifying or ssl.create_default_context()
        self._private_destinations = private_destinations

    async def probe(
        self, way: WayOut, secret: Secret | None, *, reverse_path: Mailbox, ehlo: str
    ) -> Probed:
        """As `RelayProbe.probe`."""
        attempt = _Attempt(way, secret, reverse_path)
        try:
            async with asyncio.timeout(self._whole.total_seconds()):
                addresses = await self._addresses(way.server.host)
                attempt.done(ProbeStep.ADDRESS, ProbeStep.CONNECT)
                client = await self._connected(attempt, addresses, ehlo)
                try:
                    await attempt.run(client, self._verifying)
                finally:
                    client.abort()
        except _Failed as failure:
            found = attempt.result(failed=failure.step, detail=failure.detail)
            return replace(found, is_silent=failure.is_silent)
        except TimeoutError:
            seconds = self._whole.total_seconds()
            detail = f"it was given up after {seconds:g} seconds"
            return attempt.result(failed=attempt.doing, detail=detail)
        return attempt.result()

    async def _addresses(self, host: str) -> tuple[IpAddress, ...]:
        found: list[IpAddress] = []
        silent = ""
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._resolver.lookup(host, kind, fresh=True)
            if isinstance(answer, Unanswered):
                silent = answer.cause
            elif isinstance(answer, Found):
                found += [
                    r for r in answer.records if not isinstance(r, str | MxRecord)
                ]
        if not found and silent:
            detail = f"{host}: DNS gave no answer: {silent}"
            raise _Failed(ProbeStep.ADDRESS, detail, is_silent=True)
        if not found:
            raise _Failed(ProbeStep.ADDRESS, f"{host} has no address")
        allowed = [one for one in found if self._may_go_to(one)]
        if not allowed:
            raise _Failed(
                ProbeStep.ADDRESS,
                f"{host} leads to {found[0]}, a private address: it is not connected to"
                " (a lab allows that by [delivery] private_destinations)",
            )
        return tuple(allowed[:_MAX_ADDRESSES])

    def _may_go_to(self, address: IpAddress) -> bool:
        if is_nowhere(address):
            return False
        return self._private_destinations or not is_private(address)

    async def _connected(
        self, attempt: "_Attempt", addresses: Sequence[IpAddress], ehlo: str
    ) -> "_Client":
        """The first address that takes a connection; raise what the last one said."""
        server = attempt.way.server
        failure: _Failed | None = None
        for address in addresses:
            hop = HopAddress(host=server.host, address=address, port=server.port)
            client = _Client(hop, ehlo, self._timeouts, self._implicit(server))
            try:
                await client.dial()
            except _Failed as refused:
                failure = refused
                client.abort()
                continue
            except BaseException:
                client.abort()
                raise
            attempt.hop = str(hop)
            return client
        raise failure or _Failed(ProbeStep.CONNECT, "there was nowhere to connect to")

    def _implicit(self, server: SubmissionServer) -> ssl.SSLContext | None:
        return self._verifying if server.tls is RelayTls.IMPLICIT else None


class _Failed(Exception):
    """One step did not go well."""

    def __init__(
        self, step: ProbeStep, detail: str, *, is_silent: bool = False
    ) -> None:
        super().__init__(detail)
        self.step = step
        self.detail = detail
        self.is_silent = is_silent


class _Client(Client):
    """The client of deliveries, opened step by step, with TLS first where that is so."""

    def __init__(
        self,
        hop: HopAddress,
        ehlo: str,
        timeouts: SmtpTimeouts,
        implicit: ssl.SSLContext | None,
    ) -> None:
        super().__init__(hop, ehlo, None, timeouts, own_rules())
        self._implicit = implicit
        self._handshake = timeouts.connect.total_seconds()

    @property
    def is_implicit(self) -> bool:
        return self._implicit is not None

    async def dial(self) -> None:
        """TCP, then TLS where that comes first; raise _Failed."""
        if self._implicit is None:
            await _tried(ProbeStep.CONNECT, self._dial())
            return
        address = self._hop.address
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as plain:
            plain.setblocking(False)
            await _tried(ProbeStep.CONNECT, self._reach(plain))
            await _tried(ProbeStep.TLS, self._wrap(plain, self._implicit))

    async def greet(self) -> None:
        """The banner and EHLO; raise _Failed."""
        await _tried(ProbeStep.EHLO, self._read_banner())
        await _tried(ProbeStep.EHLO, self._greet())

    async def secured(self, context: ssl.SSLContext) -> None:
        """STARTTLS with a good certificate, and EHLO again; raise _Failed."""
        if not self.supports_extension("starttls"):
            raise _Failed(ProbeStep.TLS, "the server offers no STARTTLS")
        handshake = self.starttls(
            server_hostname=self._hop.host,
            tls_context=context,
            timeout=self._handshake,
        )
        await _tried(ProbeStep.TLS, handshake)
        await _tried(ProbeStep.EHLO, self._greet())

    async def _reach(self, plain: socket.socket) -> None:
        loop, target = asyncio.get_running_loop(), self._hop
        async with asyncio.timeout(self._handshake):
            await loop.sock_connect(plain, (str(target.address), target.port))

    async def _wrap(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        """TLS before the protocol hears anything: what a peer says in clear counts for
        nothing (RFC 8314 §3.3)."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            lambda: self.wire,
            sock=plain.dup(),  # the transport's own from here on
            ssl=context,
            server_hostname=self._hop.host,
            ssl_handshake_timeout=self._handshake,
        )
        self.loop, self.protocol, self.transport = loop, self.wire, transport


class _Attempt:
    """One probe: what was done, and the steps of a session."""

    def __init__(
        self, way: WayOut, secret: Secret | None, reverse_path: Mailbox
    ) -> None:
        self.way = way
        self.hop = ""
        self.doing = ProbeStep.ADDRESS  # should time be over
        self._secret = secret
        self._reverse_path = reverse_path
        self._seen = Probed(done=())

    def done(self, step: ProbeStep, following: ProbeStep) -> None:
        self._seen = replace(self._seen, done=(*self._seen.done, step))
        self.doing = following

    def result(self, *, failed: ProbeStep | None = None, detail: str = "") -> Probed:
        detail = detail or self._seen.detail
        return replace(
            self._seen, failed=failed, detail=self._redacted(detail), hop=self.hop
        )

    async def run(self, client: _Client, verifying: ssl.SSLContext) -> None:
        """All that is said on the connection; raise _Failed."""
        self.done(ProbeStep.CONNECT, ProbeStep.EHLO)
        await client.greet()
        self.done(ProbeStep.EHLO, ProbeStep.TLS)
        if not client.is_implicit:
            await client.secured(verifying)
        self.done(ProbeStep.TLS, ProbeStep.AUTH_OFFERED)
        offers = [one for one in _SHOWN_OFFERS if client.supports_extension(one)]
        self._seen = replace(
            self._seen, tls=client.tls, offers=tuple(map(str.upper, offers))
        )
        if self.way.needs_secret and not await self._login(client):
            return
        self.doing = ProbeStep.MAIL_FROM
        await _tried(ProbeStep.MAIL_FROM, client.mail(str(self._reverse_path)))
        self.done(ProbeStep.MAIL_FROM, ProbeStep.MAIL_FROM)
        await _tried(ProbeStep.MAIL_FROM, client.rset())
        # not the library's quit(): it leaves the connection half closed under TLS, and
        # whoever asked ends its loop at once
        await _tried(ProbeStep.MAIL_FROM, client.execute_command(b"QUIT"))

    async def _login(self, client: _Client) -> bool:
        """Log in once; False where the secret is none that can be tried here."""
        is_token = (
            isinstance(self.way, CustomerMailbox) and self.way.auth is MailboxAuth.OAUTH
        )
        known = _TOKEN_METHODS if is_token else _PASSWORD_METHODS
        offered = [one.lower() for one in client.server_auth_methods]
        method = next((one for one in known if one in offered), None)
        if method is None:
            wanted = " or ".join(map(str.upper, known))
            has = ", ".join(map(str.upper, offered))
            detail = f"the server offers no AUTH {wanted}"
            detail += f", but {has}" if has else ", nor any other"
            raise _Failed(ProbeStep.AUTH_OFFERED, detail)
        self.done(ProbeStep.AUTH_OFFERED, ProbeStep.AUTH)
        if is_token:
            detail = "the refresh token was not tried: that comes with delivery"
            self._seen = replace(self._seen, detail=detail)
            return False
        login, secret = self.way.login, self._secret
        if login is None or secret is None:
            raise _Failed(ProbeStep.AUTH, "there is no secret to log in with")
        logins = {
            "plain": client.auth_plain,
            "login": client.auth_login,
            "cram-md5": client.auth_crammd5,
        }
        await _tried(ProbeStep.AUTH, logins[method](login, secret.reveal()))
        self.done(ProbeStep.AUTH, ProbeStep.MAIL_FROM)
        return True

    def _redacted(self, text: str) -> str:
        """`text` of a peer, which may say again what it was told."""
        if self._secret is None:
            return text
        plain = self._secret.reveal()
        login = f"\0{self.way.login}\0{plain}"
        for one in (plain, _base64(plain), _base64(login)):
            text = text.replace(one, "****")
        return text


async def _tried(step: ProbeStep, made: Awaitable[object]) -> None:
    """Await one step; what the library or the system raises becomes _Failed."""
    try:
        await made
    except aiosmtplib.SMTPResponseException as error:
        reply = Reply.received(error.code, error.message)
        raise _Failed(step, f"the server said {reply}") from error
    except TimeoutError as error:
        raise _Failed(step, "the server gave no answer in time") from error
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not good: {error.verify_message}"
        raise _Failed(step, why) from error
    except (OSError, aiosmtplib.SMTPException, ValueError) as error:
        raise _Failed(step, _words(error)) from error


def _words(error: Exception) -> str:
    is_system = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
    if is_system and isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return Reply.received(400, str(error) or type(error).__name__).text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
