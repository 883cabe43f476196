"""The commands of a submission server, each judged in `submission/acceptance`.

EHLO announces what is honoured and nothing else; every command leaves the connection in
step. RFC 5321 §4.1.1, RFC 6409 §4, RFC 1870, 2034, 2920, 3207, 4954, 6152, 6531.
"""

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.net.smtp_server.arguments import (
    MailArgument,
    check_ehlo,
    parse_mail,
    parse_rcpt,
)
from soboo_mta.net.smtp_server.body import Body
from soboo_mta.net.smtp_server.login import LoginSession
from soboo_mta.net.smtp_server.session import READ_OCTETS, Service
from soboo_mta.ports import IpAddress
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Envelope, Login

_MAX_DRAINED = 16  # times the size limit: then a client that goes on is cut off


class SubmissionSession(LoginSession):
    """One connection with its transaction."""

    def __init__(
        self, service: Service, *, client: IpAddress, implicit_tls: bool
    ) -> None:
        self._mail: MailArgument | None = None
        self._recipients: dict[Mailbox, None] = {}
        self._refused_recipients = 0
        super().__init__(service, client=client, implicit_tls=implicit_tls)
        self._acceptance = service.acceptance

    @property
    def is_in_transaction(self) -> bool:
        return self._mail is not None

    def forget_transaction(self) -> None:
        self._mail = None
        self._recipients = {}
        self._refused_recipients = 0

    # ---- greeting

    async def smtp_HELO(self, hostname: str) -> None:
        self._greet(hostname, is_extended=False)
        self.answer(Reply(250, None, self.hostname))

    async def smtp_EHLO(self, hostname: str) -> None:
        self._greet(hostname, is_extended=True)
        lines = [
            self.hostname,
            f"SIZE {self._acceptance.options.max_message_octets}",
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ]
        if self._service.tls is not None and not self._is_tls:
            lines.append("STARTTLS")
        if self.may_log_in:
            lines.append("AUTH PLAIN LOGIN")
        lines.append("HELP")
        self._out.extend(f"250-{line}\r\n".encode() for line in lines[:-1])
        self._out.append(f"250 {lines[-1]}\r\n".encode())

    def _greet(self, name: str, *, is_extended: bool) -> None:
        check_ehlo(name)
        self.forget_transaction()
        self._has_greeted = True
        self._is_extended = is_extended

    # ---- the transaction

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not self._has_greeted:
            self.blame(replies.SAY_EHLO)
            return
        if self._login is None:
            self.blame(replies.LOGIN_FIRST)
            return
        if self._mail is not None:
            self.blame(replies.NESTED_MAIL)
            return
        mail = parse_mail(arg or "")
        try:
            await self._acceptance.mail(self._login, mail.size)
        except Reject as refusal:
            if refusal.reply is replies.REVOKED:
                self._login = None
            raise
        self._mail = mail
        self.answer(replies.SENDER_OK)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if self._mail is None:
            self.blame(replies.NO_MAIL)
            return
        try:
            mailbox = parse_rcpt(arg or "", smtputf8=self._mail.smtputf8)
            self._make_room_for(mailbox)
        except Reject as refusal:
            self._refuse_recipient(refusal)
            return
        self._recipients[mailbox] = None
        self.answer(replies.RECIPIENT_OK)

    def _make_room_for(self, mailbox: Mailbox) -> None:
        limit = self._acceptance.options.max_recipients
        if len(self._recipients) >= limit and mailbox not in self._recipients:
            raise Reject(replies.TOO_MANY_RECIPIENTS)

    def _refuse_recipient(self, refusal: Reject) -> None:
        """As many may be refused as accepted; a client that goes on is cut off."""
        self._refused_recipients += 1
        if self._refused_recipients > self._acceptance.options.max_recipients:
            self.hang_up(replies.TOO_MANY_ERRORS)
        else:
            self.answer(refusal.reply)

    async def smtp_DATA(self, arg: str) -> None:
        mail, login = self._mail, self._login
        if arg:
            self.blame(replies.NO_ARGUMENT)
        elif mail is None or login is None:
            self.blame(replies.NO_MAIL)
        elif not self._recipients:
            self.blame(replies.NO_RECIPIENT)
        else:
            self.answer(replies.START_DATA)
            await self.flush()
            await self._take_message(login, mail)

    async def _take_message(self, login: Login, mail: MailArgument) -> None:
        body = Body(self._acceptance.options.max_message_octets)
        envelope = Envelope(
            reverse_path=mail.reverse_path,
            recipients=tuple(self._recipients),
            smtputf8=mail.smtputf8,
            protocol=self._protocol_name(mail.smtputf8, login),
        )
        self._service.admission.hold(body.held)
        self._is_in_content = True
        try:
            is_whole = await self._read_body(body)
            self._is_in_content = False
            self.forget_transaction()
            if not is_whole:
                raise Reject(replies.BUSY)
            self._is_committing = True
            reply = await self._acceptance.data(login, envelope, body.content())
            self._idle_commands = self._errors = 0
            self.answer(reply)
        except Reject as refusal:
            self._acceptance.log.refused(
                refusal.reply, client=str(login.client), tenant=login.tenant
            )
            self.answer(refusal.reply)
        finally:
            self._is_committing = False
            self._service.admission.hold(-body.held)
        await self.flush()

    async def _read_body(self, body: Body) -> bool:
        """Read to the final dot; False when there was no memory to keep it all.

        The client has the block time-out between two reads, and over all of DATA the
        minimum rate: an octet now and then does not keep the connection.
        """
        options, now = self._options, self.loop.time
        started = now()
        block = options.data_block_timeout.total_seconds()
        grace = started + options.data_grace.total_seconds()
        most = _MAX_DRAINED * self._acceptance.options.max_message_octets
        is_whole = True
        rest = None
        while rest is None:
            rate_deadline = grace + body.received / options.min_data_rate
            self.wait_until(min(now() + block, rate_deadline), replies.TOO_SLOW)
            chunk = await self._reader.read(READ_OCTETS)
            if not chunk or body.received > most:
                raise ConnectionResetError
            held = body.held
            rest = body.feed(chunk)
            if not self._service.admission.hold(body.held - held):
                is_whole = False
                self._service.admission.hold(body.give_up())
        if rest:
            self._reader._buffer[:0] = rest  # type: ignore[attr-defined] # no public way
        return is_whole

    def _protocol_name(self, smtputf8: bool, login: Login) -> str:
        """The word of RFC 3848 and RFC 6531 §4.3."""
        if not self._is_extended:
            return "SMTP"
        base = "UTF8SMTP" if smtputf8 else "ESMTP"
        has_login = "A" if login.credential is not None else ""
        return f"{base}{'S' if self._is_tls else ''}{has_login}"

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

    async def smtp_EXPN(self, arg: str) -> None:
        self.answer(replies.NOT_OFFERED)

    async def smtp_BDAT(self, arg: str) -> None:
        """Closed at once: what follows is content and must not be read as commands."""
        self.hang_up(replies.NO_CHUNKING)
