"""One client's connection: lines in, replies out, TLS, deadlines and the way out.

A subclass of aiosmtpd's SMTP with its command loop replaced: aiosmtpd takes bare LF,
names its exceptions to clients, writes a packet a reply, has one timer for all of DATA
and closes without 421. The commands are in `commands`. RFC 5321 §4.5.3.2, RFC 2920 §3.2
(replies of a pipelined group go out together), RFC 3207.
"""

import asyncio
import math
import ssl
from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, cast

from aiosmtpd.smtp import SMTP

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.limits.admission import Admission, client_key
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.protocol.encode import encode_reply
from soboo_mta.submission import replies
from soboo_mta.submission.options import ListenerOptions

READ_OCTETS = 1 << 16
_LINGER_SECONDS = 5.0  # for a client that does not read our last reply
_COMMAND_LIMIT = 512 + 10  # RFC 5321 §4.5.3.1.4, RFC 6531 §3.4
_COMMAND_LIMITS = {
    b"AUTH": 12_288,  # RFC 4954 §4
    # RFC 1870 §3, 6152 §2, 6531 §3.4, 4954 §5, 3461 §4, 4865 §4
    b"MAIL": 512 + 26 + 17 + 10 + 500 + 117 + 34,
    b"RCPT": 512 + 10 + 535,  # RFC 6531 §3.4, 3461 §4
}
_OTHER_PROTOCOLS = frozenset(b"GET POST PUT HEAD CONNECT OPTIONS PROXY".split())
_NEVER_FIRST = b"\x16\r"  # of a ClientHello, of a binary PROXY header
_SYNTAX_CODES = frozenset((500, 501, 502, 503, 504, 555))
_IDLE_COMMANDS = frozenset(b"NOOP RSET VRFY EXPN HELP EHLO HELO".split())


class SessionLog(Protocol):
    """Where a session's own troubles go."""

    def internal_error(self, *, stage: str, error: BaseException) -> None: ...


@dataclass(slots=True, kw_only=True)
class Service:
    """What all connections of a server share."""

    host_name: Domain
    log: SessionLog
    max_message_octets: int
    options: ListenerOptions
    tls: ssl.SSLContext | None
    admission: Admission
    rates: Rates
    sessions: set["Session"] = field(default_factory=set)
    is_stopping: bool = False


class Session(SMTP):
    """Reads commands and writes replies; a subclass obeys the commands."""

    line_length_limit = READ_OCTETS  # of the stream reader: ours are checked apart

    def __init__(self, service: Service, listener: Listener, caller: Caller) -> None:
        self.command_size_limits = {}  # aiosmtpd's belongs to the class: shadow it
        super().__init__(
            None,
            hostname=str(service.host_name),
            loop=asyncio.get_running_loop(),
        )
        self._service = service
        self._options = service.options
        self._listener = listener
        self._caller = caller
        self._client_key = client_key(caller.client)
        self._refusal: Reply | None = None
        self._is_counted = False
        self.tls = (listener.own_tls or service.tls) if listener.starttls else None
        self._is_tls = listener.implicit_tls  # the listener made the handshake already
        self._is_first_octet = True
        self._is_ending = False
        self._is_in_content = False
        self._is_committing = False
        self._is_reading_command = False
        self._out: list[bytes] = []
        self._deadline = 0.0
        self._fires_at = 0.0
        self._late_reply = replies.TIMED_OUT
        self._login_deadline = 0.0  # infinite once the client may send
        self._content_deadline = math.inf  # of a message that comes in chunks
        self._errors = 0
        self._idle_commands = 0

    # ---- for the commands

    @property
    @abstractmethod
    def is_in_transaction(self) -> bool:
        """Whether MAIL was accepted and nothing ended it."""

    @abstractmethod
    def forget_transaction(self) -> None:
        """End the transaction with nothing kept (RFC 5321 §4.1.1.5)."""

    def answer(self, reply: Reply) -> None:
        """Queue a reply; it is written when no further command waits."""
        self._out.append(encode_reply(reply))

    def blame(self, reply: Reply) -> None:
        """Answer, and count an error of the client's program."""
        self._errors += 1
        if self._errors > self._options.max_errors:
            self.hang_up(replies.TOO_MANY_ERRORS)
        else:
            self.answer(reply)

    def hang_up(self, reply: Reply) -> None:
        """Answer and end the connection after this command."""
        self.answer(reply)
        self._is_ending = True

    async def flush(self) -> None:
        """Write what was answered."""
        if self._out:
            self._writer.write(b"".join(self._out))
            self._out.clear()
            await self._writer.drain()

    async def read_line(self) -> bytes:
        """Return the next line without its CRLF; raise Reject when it is none."""
        if b"\n" not in self._reader._buffer:  # type: ignore[attr-defined] # no public look
            await self.flush()
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            self._is_ending = True  # where the next line begins is not known
            raise Reject(replies.LINE_TOO_LONG) from error
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError from error
        if not line.endswith(b"\r\n") or line.find(b"\r") != len(line) - 2:
            raise Reject(replies.BARE_LINE_END)
        return line[:-2]

    def wait_at_most(self, limit: timedelta, late: Reply = replies.TIMED_OUT) -> None:
        """From now the client has `limit`; then it is told `late` and closed."""
        self.wait_until(self.loop.time() + limit.total_seconds(), late)

    def wait_until(self, deadline: float, late: Reply) -> None:
        """As `wait_at_most`, to a time of the loop's clock. Costs no timer of its own
        unless it is earlier than the one that is set."""
        self._late_reply = late
        self._deadline = deadline
        if deadline < self._fires_at:
            self._set_timer(deadline)

    def wait_for_login(self) -> None:
        """From now the client has the login time-out until it may send."""
        patience = self._options.login_timeout.total_seconds()
        self._login_deadline = self.loop.time() + patience

    def _set_rset_state(self) -> None:
        """aiosmtpd calls it for a new connection; its envelope is not used here."""
        self.forget_transaction()

    # ---- the connection

    def task(self) -> asyncio.Task[None]:
        """Ends when the connection has. No property: aiosmtpd reads those too early."""
        assert self._handler_coroutine is not None
        return self._handler_coroutine

    def enter(self) -> bool:
        """Count the client, once; False when it is one too many: it is told so where
        it can be, and served nothing."""
        self._is_counted = True
        self._refusal = self._service.admission.enter(self._client_key)
        return self._refusal is None

    def leave(self) -> None:
        """Give back what was counted; more than once does no harm."""
        if self._is_counted:
            self._is_counted = False
            self._service.admission.leave(self._client_key)

    @property
    def is_open(self) -> bool:
        """Whether it was connected to its client: from then on it leaves by itself."""
        return self._handler_coroutine is not None

    @property
    def is_committing(self) -> bool:
        """Whether a message is being kept: its client is owed the truth about it."""
        return self._is_committing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._service.sessions.add(self)
        super().connection_made(transport)
        if self._is_tls and self.session is not None:
            self.session.ssl = {"cipher": transport.get_extra_info("cipher")}

    def data_received(self, data: bytes) -> None:
        if self._is_first_octet:
            self._is_first_octet = False
            if data[0] in _NEVER_FIRST:
                self._close_with(replies.NOT_SMTP)
                return
        super().data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more; it may still read what becomes of its message."""
        if self._is_committing:
            still_reads = asyncio.StreamReaderProtocol.eof_received(self)
            return still_reads and not self._is_tls
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. What is being kept for it is kept to the end, and counted
        until then; all else ends (aiosmtpd cancels it)."""
        if self._is_committing:
            self._cancel_timer()
            asyncio.StreamReaderProtocol.connection_lost(self, error)
            self.transport = None
        else:
            super().connection_lost(error)

    def finish(self) -> None:
        """The server stops: end now between two commands, else after the transaction."""
        if self._is_reading_command and not self.is_in_transaction:
            self._close_with(replies.STOPPING)

    def abort(self) -> None:
        """End at once, whatever the client is doing."""
        self._close_with(replies.STOPPING)

    async def start_tls(self) -> bool:
        """Hand the connection to TLS; what came in clear before it is thrown away
        (RFC 3207 §4.2). False when the handshake failed: the connection is gone."""
        assert self.tls is not None
        self._is_tls = True
        self._reader._buffer.clear()  # type: ignore[attr-defined] # no public way
        self.wait_at_most(self._options.handshake_timeout)
        try:
            secured = await self.loop.start_tls(
                cast(asyncio.Transport, self.transport),
                self,
                self.tls,
                server_side=True,
                ssl_handshake_timeout=self._options.handshake_timeout.total_seconds(),
            )
        except OSError:  # ssl.SSLError and a lost connection are among them
            return False
        if secured is None:  # asyncio, for a connection lost meanwhile
            return False
        self.transport = secured
        self._reader._transport = secured  # type: ignore[attr-defined] # as aiosmtpd does
        self._writer._transport = secured  # type: ignore[attr-defined]
        assert self.session is not None
        self.session.ssl = {"cipher": secured.get_extra_info("cipher")}
        return True

    async def _handle_client(self) -> None:
        raw = self.transport
        try:
            if self._refusal is not None:
                self.hang_up(self._refusal)
            else:
                await self._serve()
            await self.flush()
        except (ConnectionError, TimeoutError):
            pass  # the client went away: nothing was promised
        except Exception as error:  # noqa: BLE001 - a task's root: logged with its trace
            self._service.log.internal_error(stage="session", error=error)
        finally:
            self.forget_transaction()
            self.leave()
            self._service.sessions.discard(self)
            self._close_transport(raw)

    async def _serve(self) -> None:
        options = self._options
        patience = options.command_timeout.total_seconds()
        self.answer(Reply(220, None, f"{self.hostname} ESMTP"))
        while not self._is_ending:
            if self._service.is_stopping and not self.is_in_transaction:
                self.hang_up(replies.STOPPING)
                return
            deadline = min(
                self.loop.time() + patience,
                self._login_deadline,
                self._content_deadline,
            )
            self.wait_until(deadline, replies.TIMED_OUT)
            self._is_reading_command = True
            try:
                line = await self.read_line()
            except Reject as refusal:
                self.blame(refusal.reply)
                continue
            finally:
                self._is_reading_command = False
            await self._obey(line)

    async def _obey(self, line: bytes) -> None:
        word, _, argument = line.partition(b" ")
        word = word.upper()
        if len(line) + 2 > _COMMAND_LIMITS.get(word, _COMMAND_LIMIT):
            self.blame(
                replies.LOGIN_TOO_LONG if word == b"AUTH" else replies.LINE_TOO_LONG
            )
            return
        method = self._smtp_methods.get(word.decode("latin-1"))
        if method is None:
            self._refuse_unknown(word)
            return
        if word in _IDLE_COMMANDS and self._is_too_idle():
            return
        try:
            text = argument.decode().strip(" ")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self.blame(replies.NOT_TEXT)
            return
        try:
            await method(text)
        except Reject as refusal:
            if refusal.reply.code in _SYNTAX_CODES:
                self.blame(refusal.reply)
            else:
                self.answer(refusal.reply)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - RFC 5321 §4.2.1: 451, never lost
            self._service.log.internal_error(stage="command", error=error)
            self.forget_transaction()
            self.answer(replies.INTERNAL)
            self._is_ending |= self._is_in_content  # content is never read as commands

    def _refuse_unknown(self, word: bytes) -> None:
        if word in _OTHER_PROTOCOLS or word.startswith((b"HOST:", b"SSH-")):
            self.hang_up(replies.NOT_SMTP)
        else:
            self.blame(replies.UNKNOWN_COMMAND)

    def _is_too_idle(self) -> bool:
        self._idle_commands += 1
        if self._idle_commands <= self._options.max_idle_commands:
            return False
        self.hang_up(replies.TOO_MANY_IDLE)
        return True

    # ---- time and the way out

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd calls it for a new connection: set the first timer."""
        self.wait_for_login()
        self._deadline = self._login_deadline
        self._set_timer(self._deadline)

    def _cancel_timer(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()

    def _set_timer(self, at: float) -> None:
        self._cancel_timer()
        self._fires_at = at
        self._timeout_handle = self.loop.call_at(at, self._timeout_cb)

    def _timeout_cb(self) -> None:
        now = self.loop.time()
        if self._is_committing:  # what we wait for is ours, not the client's
            self._set_timer(now + 1.0)
        elif now < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._close_with(self._late_reply)

    def _close_with(self, reply: Reply) -> None:
        """Write `reply` past all that waits, and close; this ends the task as well."""
        if self.transport is None or self.transport.is_closing():
            return
        self.answer(reply)
        self._writer.write(b"".join(self._out))
        self._out.clear()
        self._close_transport(self.transport)

    def _close_transport(self, raw: asyncio.BaseTransport | None) -> None:
        transport = cast(asyncio.Transport | None, self.transport or raw)
        self._cancel_timer()
        if transport is None:
            return
        if not transport.is_closing():
            transport.close()
        if transport.get_write_buffer_size():
            self._timeout_handle = self.loop.call_later(
                _LINGER_SECONDS, transport.abort
            )
