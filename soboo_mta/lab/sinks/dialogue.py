"""The SMTP commands of a sink, behaving as it is told.

Owns the dialogue after the banner, on aiosmtpd (RFC 5321, RFC 3030, RFC 3207, RFC 3461
§5). Never relays, and never looks whether a password is right.
"""

import logging

from aiosmtpd.smtp import SMTP, Envelope, Session

from soboo_mta.lab.rules.behaviour import Decision
from soboo_mta.lab.rules.rule import Action, Extension, Stage, TlsFault
from soboo_mta.lab.sinks.parameters import fitting
from soboo_mta.lab.sinks.reading import OverLimit, read_chunk, read_to_the_dot
from soboo_mta.lab.sinks.session import LONGEST_COMMAND, OFFERED, SinkSession

_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"  # an alert, RFC 8446 §6.2
_LOG = logging.getLogger(__name__)


class SinkDialogue(SinkSession):
    """One connection to one sink: the commands, in the order of the dialogue."""

    async def handle_EHLO(  # found by name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        decision = self._decided(Stage.EHLO, "", ())
        refusal = await self._act(decision)
        if refusal is not None:
            return [refusal]
        session.host_name = hostname
        self._offered = self._extensions(decision)
        lines = [f"250-{self.hostname}", *map(self._keyword, sorted(self._offered))]
        if self._auth_methods:
            lines.append("250-AUTH " + " ".join(sorted(self._auth_methods)))
        lines[-1] = lines[-1].replace("250-", "250 ", 1)
        return lines

    def _extensions(self, decision: Decision) -> frozenset[Extension]:
        offered = OFFERED
        if self.tls_context is None or self._tls_protocol is not None:
            offered -= {Extension.STARTTLS}
        if decision.action is Action.HIDE:
            offered -= set(decision.extensions)
        if decision.action is Action.OFFER:
            offered |= set(decision.extensions)
        return offered

    def _keyword(self, extension: Extension) -> str:
        size = f" {self.data_size_limit}" if extension is Extension.SIZE else ""
        return f"250-{extension}{size}"

    async def handle_HELO(  # found by name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str
    ) -> str:
        refusal = await self._refusal(Stage.EHLO)
        if refusal is not None:
            return refusal
        self._offered = frozenset()
        session.host_name = hostname
        return f"250 {self.hostname}"

    async def handle_exception(self, error: Exception) -> str:
        """Our own fault is an answer too: the message stays with the client."""
        _LOG.error("a dialogue failed", exc_info=error)
        return "451 4.3.0 The lab failed here"

    async def handle_MAIL(  # found by name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        refusal = await self._refusal(Stage.MAIL, mail_from=address)
        if refusal is not None:
            return refusal
        envelope.mail_from = address
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(  # found by name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        refusal = await self._refusal(
            Stage.RCPT, mail_from=envelope.mail_from or "", recipients=(address,)
        )
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def smtp_AUTH(self, arg: str) -> None:  # found by name
        """Mechanisms are named in either case (RFC 4954 §4)."""
        mechanism, space, rest = (arg or "").partition(" ")
        await super().smtp_AUTH(mechanism.upper() + space + rest)

    async def smtp_MAIL(self, arg: str | None) -> None:  # found by name
        """Take only the parameters of what was offered (RFC 5321 §4.1.1.11)."""
        rest, refusal = fitting(arg, self._offered)
        await (self.push(refusal) if refusal else super().smtp_MAIL(rest))

    async def smtp_RCPT(self, arg: str | None) -> None:  # found by name
        """As MAIL."""
        rest, refusal = fitting(arg, self._offered)
        await (self.push(refusal) if refusal else super().smtp_RCPT(rest))

    async def smtp_STARTTLS(self, arg: str) -> None:  # found by name
        """Upgrade, refuse or break, as the rules say."""
        if self._tls_protocol is not None:
            await self.push("503 5.5.1 TLS is on already")
            return
        if Extension.STARTTLS not in self._offered:
            await self.push("502 5.5.1 STARTTLS was not offered")
            return
        decision = self._decided(Stage.STARTTLS, "", ())
        refusal = await self._act(decision)
        if refusal is not None:
            await self.push(refusal)
            return
        if decision.fault is TlsFault.HANDSHAKE:
            await self._break_the_handshake()
            return
        if decision.fault is not None:
            if self._certificates is None:
                await self.push("454 4.7.0 This sink has no certificates to make bad")
                return
            self.tls_context = self._certificates.bad(decision.fault)
        await super().smtp_STARTTLS(arg)

    async def smtp_DATA(self, arg: str) -> None:  # found by name
        """Read to the final dot in pieces: the library's reading is line by line."""
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT comes first")
            return
        if self._chunks is not None:
            await self.push("503 5.5.1 BDAT has begun (RFC 3030 §2)")
            return
        decision = self._decide(Stage.DATA, envelope)
        refusal = await self._act(decision)
        if refusal is not None:
            await self.push(refusal)
            self._set_post_data_state()
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        stuffed = await read_to_the_dot(
            self._reader,
            limit=self._options.largest,
            alive=self._reset_timeout,
            octets_per_second=decision.octets_per_second
            if decision.action is Action.SLOW
            else 0,
        )
        # Any dot at a line's start, so that what was not stuffed shows (RFC 5321 §4.5.2).
        octets = (
            None
            if stuffed is None
            else (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        )
        await self.push(await self._settle(envelope, octets))
        self._set_post_data_state()

    async def smtp_BDAT(self, arg: str | None) -> None:  # found by name
        """One chunk (RFC 3030 §2); its octets are read before anything is answered."""
        size, _, last = (arg or "").partition(" ")
        if (
            not size.isascii()
            or not size.isdecimal()
            or last.upper() not in ("", "LAST")
        ):
            await self.push("501 5.5.4 BDAT size [LAST]")
            return
        held = self._chunks if self._chunks is not None else bytearray()
        try:
            held += await read_chunk(
                self._reader,
                int(size),
                room=self._options.largest - len(held),
                alive=self._reset_timeout,
            )
        except OverLimit:
            await self.push("552 5.3.4 Message too big")
            self._set_post_data_state()
            return
        envelope = self.envelope
        if Extension.CHUNKING not in self._offered or not (
            envelope and envelope.rcpt_tos
        ):
            await self.push("503 5.5.1 CHUNKING was not offered, or RCPT comes first")
            return
        if self._chunks is None:
            refusal = await self._act(self._decide(Stage.DATA, envelope))
            if refusal is not None:
                await self.push(refusal)
                self._set_post_data_state()
                return
        if not last:
            self._chunks = held
            await self.push(f"250 2.0.0 {size} octets received")
            return
        await self.push(await self._settle(envelope, bytes(held)))
        self._set_post_data_state()

    def _set_post_data_state(self) -> None:  # the library's, also at RSET and EHLO
        super()._set_post_data_state()  # type: ignore[no-untyped-call]  # the library's
        self._chunks = None

    async def _break_the_handshake(self) -> None:
        """Say yes, and answer the client's hello with an alert."""
        await self.push("220 2.0.0 Ready to start TLS")
        await self._reader.read(LONGEST_COMMAND)
        self._writer.write(_HANDSHAKE_FAILURE)
        self._writer.close()
