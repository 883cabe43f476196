"""One connection to a sink, below the commands: its life, and what the rules say now.

Owns beginning and end of a connection on aiosmtpd (RFC 5321), the questions to
`behaviour.py`, silence and cutting, and handing a message to `take` before the final dot
is answered, so that `250` means judged and recorded. The commands are `dialogue.py`'s.
"""

import asyncio
from collections import defaultdict

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from soboo_mta.lab.rules.behaviour import Behaviour, Decision
from soboo_mta.lab.rules.rule import Action, Extension, Moment, Stage
from soboo_mta.lab.sinks.certificates import Certificates
from soboo_mta.lab.sinks.options import Delivery, Note, SinkOptions, Take

LONGEST_COMMAND = 2_048  # octets: room for VERP, SMTPUTF8 and parameters
OFFERED = frozenset(Extension) - {Extension.CHUNKING, Extension.DSN}
_NOTED = (Action.REPLY, Action.HANG, Action.DROP, Action.TLS)


class SinkSession(SMTP):
    """A connection that can be cut, and that asks what to do at each stage."""

    line_length_limit = LONGEST_COMMAND  # of the reader too: commands, not DATA

    def __init__(
        self,
        *,
        host: str,
        behaviour: Behaviour,
        options: SinkOptions,
        certificates: Certificates | None,
        take: Take,
        note: Note,
        open_dialogues: "set[SinkSession]",
    ) -> None:
        super().__init__(
            self,
            data_size_limit=options.largest,
            enable_SMTPUTF8=True,
            hostname=options.hostname,
            ident="lab sink",
            tls_context=certificates.good() if certificates else options.tls,
            authenticator=_any_login if options.any_login else None,
            auth_require_tls=not options.any_login,
            auth_exclude_mechanism=None if options.any_login else ["LOGIN", "PLAIN"],
            loop=asyncio.get_running_loop(),
        )
        # The library keeps these for all connections together and empties them.
        self.command_size_limit = LONGEST_COMMAND
        self.command_size_limits = defaultdict(lambda: LONGEST_COMMAND)
        self._host = host
        self._behaviour = behaviour
        self._options = options
        self._certificates = certificates
        self._take = take
        self._note = note
        self._open = open_dialogues
        self._offered = OFFERED
        self._chunks: bytearray | None = None

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
        for stage in (Stage.CONNECT, Stage.BANNER):
            refusal = await self._refusal(stage)
            if refusal is not None:
                await self.push(refusal)
                self._writer.close()
                return
        await super()._handle_client()

    # ---- what the rules say

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
        if decision.action in _NOTED:
            self._note(moment, decision)
        return decision

    async def _act(self, decision: Decision) -> str | None:
        """Return the reply to give instead, None to go on; after a drop nothing returns."""
        if decision.delay:
            await asyncio.sleep(decision.delay)
        match decision.action:
            case Action.REPLY:
                return decision.reply
            case Action.HANG:
                await self._say_nothing(decision.seconds)
            case Action.DROP:
                self.cut()
                await asyncio.sleep(0)  # the cancellation arrives here
        return None

    async def _say_nothing(self, seconds: float) -> None:
        """Until the peer goes, or for a time; then the connection is cut."""
        if not seconds:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)
        self.cut()
        await asyncio.sleep(0)  # the cancellation arrives here

    def _peer(self) -> str:
        assert self.session is not None
        return str(self.session.peer[0]) if self.session.peer else ""

    # ---- taking a message

    async def _settle(self, envelope: Envelope, octets: bytes | None) -> str:
        """Take the message by the rules for the final dot and return the answer."""
        if octets is None:
            return "552 5.3.4 Message too big"
        decision = self._decide(Stage.DOT, envelope)
        if decision.keep or decision.action is Action.ACCEPT:
            try:
                await self._take(self._delivery(envelope, octets))
            except OSError:
                return "452 4.3.1 The record could not be written"
        refusal = await self._act(decision)
        return refusal or "250 2.0.0 Taken"

    def _delivery(self, envelope: Envelope, octets: bytes) -> Delivery:
        assert self.session is not None
        return Delivery(
            peer=self._peer(),
            sink=self._host,
            helo=self.session.host_name or "",
            tls=self._tls_protocol is not None,
            login=_login_name(self.session),
            mail_from=_plain(envelope.mail_from or ""),
            rcpt_to=tuple(envelope.rcpt_tos),
            octets=octets,
        )


def _plain(reverse_path: str) -> str:
    """The library writes the null reverse-path as `<>`."""
    return "" if reverse_path == "<>" else reverse_path


def _any_login(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, secret: object
) -> AuthResult:
    """Every password is right: an application keeps the settings it has."""
    return AuthResult(success=True, auth_data=secret)


def _login_name(session: Session) -> str:
    given = session.auth_data
    return (
        given.login.decode("utf-8", "replace")
        if isinstance(given, LoginPassword)
        else ""
    )
