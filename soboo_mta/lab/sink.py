"""The sinks: SMTP servers that behave as they are told and hand over what they get.

Owns the dialogue, on aiosmtpd (RFC 5321). What happens at a stage is decided by
`behaviour.py`; a message is handed to `take` before the final dot is answered, so that
`250` means judged and recorded. Never relays and never authenticates.
"""

import asyncio
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session

from soboo_mta.lab.behaviour import Action, Behaviour, Decision, Moment, Stage
from soboo_mta.lab.dns import bound

_CHUNK = 65_536  # octets read at once in DATA
_END = b"\r\n.\r\n"
_LONGEST_COMMAND = 2_048  # octets: room for VERP, SMTPUTF8 and parameters
_PORT_TRIES = 20  # port 0: the other addresses may have the first one's port taken
_BACKLOG = 1_024
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """`addresses` all listen at one `port`, 0 for a free one; each is a host to rules."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    hostname: str = "sink.lab.test"
    largest: int = 64 * 1024 * 1024  # octets of one message
    tls: ssl.SSLContext | None = None  # STARTTLS is offered where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as it came, dots unstuffed; `mail_from` is "" for the null one."""

    peer: str
    sink: str
    helo: str
    tls: bool
    mail_from: str
    rcpt_to: tuple[str, ...]
    octets: bytes


Take = Callable[[Delivery], Awaitable[None]]
"""Takes responsibility for a message; an OSError is answered 452."""
Note = Callable[[Moment, Decision], None]
"""Told of every moment that was not simply accepted."""


class Sinks:
    """SMTP servers on all addresses at one port; `port` is the bound one once started."""

    def __init__(
        self, behaviour: Behaviour, *, options: SinkOptions, take: Take, note: Note
    ) -> None:
        self.port = options.port
        self._behaviour = behaviour
        self._options = options
        self._take = take
        self._note = note
        self._servers: list[asyncio.Server] = []
        self._dialogues: set[SinkDialogue] = set()

    async def start(self) -> None:
        """Bind every address; raises OSError where one is taken or not there."""
        loop = asyncio.get_running_loop()
        sockets = _bound_all(self._options.addresses, self._options.port)
        self.port = sockets[0].getsockname()[1]
        for address, listening in zip(self._options.addresses, sockets, strict=True):
            server = await loop.create_server(
                lambda host=address: self._dialogue(host),  # type: ignore[misc]  # a default binds it now
                sock=listening,
                backlog=_BACKLOG,
            )
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening and cut every connection; what was taken stays taken."""
        for server in self._servers:
            server.close()
        for dialogue in list(self._dialogues):
            dialogue.cut()
        await asyncio.gather(
            *(dialogue.ended() for dialogue in list(self._dialogues)),
            return_exceptions=True,
        )
        for server in self._servers:
            await server.wait_closed()

    def _dialogue(self, host: str) -> "SinkDialogue":
        return SinkDialogue(
            host=host,
            behaviour=self._behaviour,
            options=self._options,
            take=self._take,
            note=self._note,
            open_dialogues=self._dialogues,
        )


class SinkDialogue(SMTP):
    """One connection to one sink."""

    line_length_limit = _LONGEST_COMMAND  # of the reader too: commands, not DATA

    def __init__(
        self,
        *,
        host: str,
        behaviour: Behaviour,
        options: SinkOptions,
        take: Take,
        note: Note,
        open_dialogues: "set[SinkDialogue]",
    ) -> None:
        super().__init__(
            self,
            data_size_limit=options.largest,
            enable_SMTPUTF8=True,
            hostname=options.hostname,
            ident="lab sink",
            tls_context=options.tls,
            loop=asyncio.get_running_loop(),
        )
        # The library keeps these for all connections together and empties them.
        self.command_size_limit = _LONGEST_COMMAND
        self.command_size_limits = defaultdict(lambda: _LONGEST_COMMAND)
        self._auth_methods = {}
        self._host = host
        self._behaviour = behaviour
        self._take = take
        self._note = note
        self._open = open_dialogues

    # ---- connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self not in self._open and self._handler_coroutine is not None:
            self._open.add(self)
            self._handler_coroutine.add_done_callback(self._leave)

    def _leave(self, _: object) -> None:
        self._open.discard(self)

    def cut(self) -> None:
        """End the connection at once, without a word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    async def ended(self) -> None:
        """Wait until nothing of this dialogue runs any more."""
        if self._handler_coroutine is not None:
            await asyncio.gather(self._handler_coroutine, return_exceptions=True)

    async def _handle_client(self) -> None:
        refusal = await self._refusal(Stage.BANNER)
        if refusal is None:
            await super()._handle_client()
            return
        await self.push(refusal)
        self._writer.close()

    # ---- hooks of the library, in the order of the dialogue

    async def handle_EHLO(  # found by name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        refusal = await self._refusal(Stage.EHLO)
        if refusal is not None:
            return [refusal]
        session.host_name = hostname
        offered = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        return [*offered, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"]

    async def handle_HELO(  # found by name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str
    ) -> str:
        refusal = await self._refusal(Stage.EHLO)
        if refusal is not None:
            return refusal
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

    async def smtp_DATA(self, arg: str) -> None:  # found by name
        """Read to the final dot in pieces: the library's reading is line by line."""
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT comes first")
            return
        refusal = await self._refusal_of(Stage.DATA, envelope)
        if refusal is not None:
            await self.push(refusal)
            self._set_post_data_state()  # type: ignore[no-untyped-call]  # the library's
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        stuffed = await self._read_to_the_dot()
        await self.push(await self._settle(envelope, stuffed))
        self._set_post_data_state()  # type: ignore[no-untyped-call]  # the library's

    # ---- inside

    async def _read_to_the_dot(self) -> bytes | None:
        """Return the dot-stuffed octets, or None where they were over the limit."""
        held = bytearray(b"\r\n")  # so that a dot on the first line is one
        looked = 0
        is_over = False
        while (end := held.find(_END, looked)) < 0:
            if self.data_size_limit and len(held) > self.data_size_limit:
                is_over = True
                del held[: -len(_END)]
            looked = max(0, len(held) - len(_END) + 1)
            self._reset_timeout()
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                raise asyncio.CancelledError  # end of file: the library ends the task too
            held += chunk
        rest = held[end + len(_END) :]
        if rest:  # the commands that came in the same packet
            self._reader._buffer[:0] = rest  # type: ignore[attr-defined]  # no public way back
        return None if is_over else bytes(held[2 : end + 2])

    async def _settle(self, envelope: Envelope, stuffed: bytes | None) -> str:
        """Take the message by the rules for the final dot and return the answer."""
        if stuffed is None:
            return "552 5.3.4 Message too big"
        decision = self._decide(Stage.DOT, envelope)
        if decision.keep or decision.action is Action.ACCEPT:
            try:
                await self._take(self._delivery(envelope, stuffed))
            except OSError:
                return "452 4.3.1 The record could not be written"
        refusal = await self._act(decision)
        return refusal or "250 2.0.0 Taken"

    def _delivery(self, envelope: Envelope, stuffed: bytes) -> Delivery:
        assert self.session is not None
        # Any dot at a line's start, so that what was not stuffed shows (RFC 5321 §4.5.2).
        unstuffed = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        return Delivery(
            peer=self._peer(),
            sink=self._host,
            helo=self.session.host_name or "",
            tls=self._tls_protocol is not None,
            mail_from=_plain(envelope.mail_from or ""),
            rcpt_to=tuple(envelope.rcpt_tos),
            octets=unstuffed,
        )

    async def _refusal_of(self, stage: Stage, envelope: Envelope) -> str | None:
        return await self._act(self._decide(stage, envelope))

    def _decide(self, stage: Stage, envelope: Envelope) -> Decision:
        return self._decided(stage, envelope.mail_from or "", tuple(envelope.rcpt_tos))

    async def _refusal(
        self, stage: Stage, *, mail_from: str = "", recipients: tuple[str, ...] = ()
    ) -> str | None:
        return await self._act(self._decided(stage, mail_from, recipients))

    def _decided(
        self, stage: Stage, mail_from: str, recipients: tuple[str, ...]
    ) -> Decision:
        moment = Moment(
            stage=stage,
            host=self._host,
            client=self._peer(),
            reverse_path=_plain(mail_from),
            recipients=recipients,
        )
        decision = self._behaviour.decide(moment)
        if decision.action is not Action.ACCEPT:
            self._note(moment, decision)
        return decision

    async def _act(self, decision: Decision) -> str | None:
        """Return the reply to give instead, None to go on; silence never returns."""
        match decision.action:
            case Action.ACCEPT:
                return None
            case Action.HANG:
                await asyncio.get_running_loop().create_future()  # until the peer goes
            case Action.DROP:
                self.cut()
                await asyncio.sleep(0)  # the cancellation arrives here
        return decision.reply

    def _peer(self) -> str:
        assert self.session is not None
        return str(self.session.peer[0]) if self.session.peer else ""


def _plain(reverse_path: str) -> str:
    """The library writes the null reverse-path as `<>`."""
    return "" if reverse_path == "<>" else reverse_path


def _bound_all(addresses: tuple[str, ...], port: int) -> list[socket.socket]:
    """Return one socket per address, all at the same port."""
    for left in range(_PORT_TRIES if port == 0 else 1, 0, -1):
        made: list[socket.socket] = []
        try:
            for address in addresses:
                wanted = made[0].getsockname()[1] if made else port
                made.append(bound(address, wanted, socket.SOCK_STREAM))
        except OSError:
            for each in made:
                each.close()
            if left == 1:
                raise
        else:
            return made
    raise OSError("no port")  # not reached: the last try raises
