"""How a session opens, and the commands that every server has: EHLO, STARTTLS, the small
ones.

EHLO announces what is honoured and nothing else; every command leaves the connection in
step. RFC 5321 §4.1.1, RFC 3207.
"""

from abc import abstractmethod

from soboo_mta.mail.reply import Reply
from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.arguments import check_ehlo
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.session.connection import Service, Session
from soboo_mta.submission import replies


class OpeningSession(Session):
    """A connection that was greeted, in clear or over TLS."""

    def __init__(self, service: Service, listener: Listener, caller: Caller) -> None:
        self._has_greeted = False
        self._is_extended = False
        self.client_name = ""  # as EHLO said it; proof of nothing
        super().__init__(service, listener, caller)

    @abstractmethod
    def extensions(self) -> list[str]:
        """What EHLO announces now, besides STARTTLS and HELP (RFC 5321 §4.1.1.1)."""

    # ---- greeting

    async def smtp_HELO(self, hostname: str) -> None:
        self._greet(hostname, is_extended=False)
        self.answer(Reply(250, None, self.hostname))

    async def smtp_EHLO(self, hostname: str) -> None:
        self._greet(hostname, is_extended=True)
        lines = [self.hostname, *self.extensions()]
        if self.tls is not None and not self._is_tls:
            lines.append("STARTTLS")
        lines.append("HELP")
        self._out.extend(f"250-{line}\r\n".encode() for line in lines[:-1])
        self._out.append(f"250 {lines[-1]}\r\n".encode())

    def _greet(self, name: str, *, is_extended: bool) -> None:
        check_ehlo(name)
        self.forget_transaction()
        self.client_name = name
        self._has_greeted = True
        self._is_extended = is_extended

    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            self.blame(replies.NO_ARGUMENT)
        elif self._is_tls:
            self.blame(replies.TLS_ACTIVE)
        elif self.tls is None:
            self.blame(replies.NO_TLS)
        else:
            self.answer(replies.START_TLS)
            await self.flush()
            if not await self.start_tls():
                raise ConnectionResetError
            self.forget_client()

    def forget_client(self) -> None:
        """What was said in clear counts no more (RFC 3207 §4.2)."""
        self.forget_transaction()
        self.client_name = ""
        self._has_greeted = False

    # ---- the small ones

    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            self.blame(replies.NO_ARGUMENT)
            return
        self.forget_transaction()
        self.answer(replies.OK)

    async def smtp_NOOP(self, arg: str) -> None:
        self.answer(replies.OK)

    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            self.blame(replies.NO_ARGUMENT)
        else:
            self.hang_up(replies.GOODBYE)

    async def smtp_HELP(self, arg: str) -> None:
        self.answer(replies.HELP)

    async def smtp_VRFY(self, arg: str) -> None:
        self.answer(replies.CANNOT_VERIFY)

    async def smtp_AUTH(self, arg: str | None) -> None:
        """aiosmtpd has one of its own, which must never be met."""
        self.blame(replies.NOT_OFFERED)

    async def smtp_EXPN(self, arg: str) -> None:
        self.answer(replies.NOT_OFFERED)
