"""A session being opened by aiosmtplib: TCP, banner, EHLO, STARTTLS, each with a time-out.

What the library or the system raises becomes `Trouble` with its outcome, here alone.
"""

import asyncio
import errno
import os
import ssl
from collections.abc import Awaitable
from typing import Final, cast

import aiosmtplib

from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.outcome import Deferred, Outcome, Reason
from soboo_mta.mail.reply import Reply
from soboo_mta.net.smtp_client.wire import Wire
from soboo_mta.ports import HopAddress, IpAddress, SmtpTimeouts
from soboo_mta.transfer.classify import Stage, broken, of_reply, without_source

_PERMANENT: Final = 500


class Trouble(Exception):
    """A session that broke, as the outcome for whoever it carried."""

    def __init__(self, outcome: Deferred) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome


class Client(aiosmtplib.SMTP):
    """aiosmtplib's session, opened over a `Wire`, with a time-out for each step."""

    def __init__(
        self,
        hop: HopAddress,
        ehlo: str,
        source_address: IpAddress | None,
        timeouts: SmtpTimeouts,
        rules: RuleSet,
    ) -> None:
        super().__init__(
            hostname=str(hop.address),
            port=hop.port,
            local_hostname=ehlo,
            source_address=(str(source_address), 0) if source_address else None,
            timeout=timeouts.command.total_seconds(),
            start_tls=False,
        )
        self._hop = hop
        self._host = str(hop)
        self._timeouts = timeouts
        self._rules = rules
        self.wire = Wire(asyncio.get_running_loop(), self._on_connection_lost)

    @property
    def tls(self) -> str:
        cipher = self.get_transport_info("cipher")
        return f"{cipher[1]} {cipher[0]}" if cipher else ""

    def meaning(self, stage: Stage, code: int, text: str) -> Outcome:
        """Return what a reply of this host at `stage` means."""
        answer = Reply.received(code, text)
        return of_reply(stage, answer, rules=self._rules, host=self._host)

    async def open(self) -> None:
        """Connect, read the banner, say EHLO (or HELO); raise Trouble."""
        await self._mapped(Stage.CONNECT, self._dial())
        await self._mapped(Stage.BANNER, self._read_banner())
        await self._mapped(Stage.EHLO, self._greet())

    async def secure(self, name: str, context: ssl.SSLContext) -> None:
        """STARTTLS, then EHLO again (RFC 3207 §4.2); raise Trouble."""
        handshake = self.starttls(
            server_hostname=name,
            tls_context=context,
            timeout=self._timeouts.connect.total_seconds(),
        )
        await self._mapped(Stage.STARTTLS, handshake)
        await self._mapped(Stage.EHLO, self._greet())

    def abort(self) -> None:
        """Close at once and for good; nothing more is sent."""
        self.wire.is_clean = False
        transport = cast(asyncio.WriteTransport | None, self.transport)
        if transport is not None:
            transport.abort()
        self.close()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeouts.connect.total_seconds()):
            transport, _ = await loop.create_connection(
                lambda: self.wire,
                host=str(self._hop.address),
                port=self._hop.port,
                local_addr=self.source_address,
            )
        self.loop, self.protocol, self.transport = loop, self.wire, transport

    async def _read_banner(self) -> None:
        banner = await self.wire.read_response(self._timeouts.banner.total_seconds())
        if banner.code != aiosmtplib.SMTPStatus.ready:
            raise aiosmtplib.SMTPConnectResponseError(banner.code, banner.message)

    def _lacks_source(self, error: Exception) -> bool:
        """Whether the address to send from is none of this host's (case 166)."""
        is_gone = isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL
        return is_gone and self.source_address is not None

    async def _greet(self) -> None:
        """EHLO; HELO to a peer that does not know it (RFC 5321 §3.2), never to one that is
        busy: without extensions there is no STARTTLS either."""
        try:
            await self.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code < _PERMANENT or not self.is_connected:
                raise
            await self.helo()

    async def _mapped(self, stage: Stage, step: Awaitable[object]) -> None:
        """Await `step`; what the library or the system raises becomes Trouble."""
        try:
            await step
        except aiosmtplib.SMTPResponseException as error:
            answer = self.meaning(stage, error.code, error.message)
            if isinstance(answer, Deferred):
                raise Trouble(answer) from error
            raise self._trouble(stage, Reason.PROTOCOL, str(answer)) from error
        except TimeoutError as error:
            raise self._trouble(stage, Reason.TIMEOUT, "no answer in time") from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise self._trouble(stage, Reason.TLS, _words(error)) from error
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:
            if stage is Stage.CONNECT and self._lacks_source(error):
                raise Trouble(without_source(_words(error))) from error
            reason = Reason.TLS if stage is Stage.STARTTLS else Reason.CONNECTION
            raise self._trouble(stage, reason, _words(error)) from error

    def _trouble(self, stage: Stage, reason: Reason, detail: str) -> Trouble:
        """Trouble that names the host: where there is no session nothing else does."""
        return Trouble(broken(stage, reason, f"{self._host}: {detail}"))


def _words(error: Exception) -> str:
    if (
        isinstance(error, OSError)
        and error.errno
        and not isinstance(error, ssl.SSLError)
    ):
        return os.strerror(error.errno)  # without the addresses in a tuple
    return Reply.received(400, str(error) or type(error).__name__).text[:200]
