"""The commands of the return listener, each judged in `returns/reception`.

Nobody logs in: who may send is said by the address that is written to. The null
reverse-path is what a bounce comes with, and as good as any (RFC 5321 §4.5.5).
"""

import re
from dataclasses import dataclass, field

from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.arguments import MailArgument, parse_mail, parse_rcpt
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.protocol.body import Body
from soboo_mta.net.smtp_server.session.connection import Service
from soboo_mta.net.smtp_server.session.reading import ReadingSession
from soboo_mta.returns.reception import Arriving, Reception, ReturnDoor
from soboo_mta.submission import replies

_BARE_POSTMASTER = re.compile(r"to: ?<postmaster>", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class ReturnService(Service):
    """What all connections of the return listener share."""

    reception: Reception


@dataclass(slots=True)
class _Transaction:
    mail: MailArgument
    doors: dict[str, ReturnDoor] = field(default_factory=dict)
    refused_recipients: int = 0


class ReturnSession(ReadingSession):
    """One connection of a server that brings something back."""

    def __init__(
        self, service: ReturnService, listener: Listener, caller: Caller
    ) -> None:
        self._transaction: _Transaction | None = None
        self._reception = service.reception
        super().__init__(service, listener, caller)

    @property
    def is_in_transaction(self) -> bool:
        return self._transaction is not None

    def forget_transaction(self) -> None:
        self._transaction = None
        self.hold(0)

    async def _serve(self) -> None:
        self._login_deadline = float("inf")  # there is no login to wait for
        await super()._serve()

    def extensions(self) -> list[str]:
        return [
            f"SIZE {self._max_octets}",
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ]

    # ---- the transaction

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not self._has_greeted:
            self.blame(replies.SAY_EHLO)
        elif self._transaction is not None:
            self.blame(replies.NESTED_MAIL)
        else:
            mail = parse_mail(arg or "")
            self._reception.admit(mail.size)
            if not self._service.admission.has_room(mail.size):
                raise Reject(replies.BUSY)
            if not self._service.rates.may_send(self._client_key, None):
                raise Reject(replies.SENDING_TOO_OFTEN)
            self._transaction = _Transaction(mail)
            self.answer(replies.SENDER_OK)

    async def smtp_RCPT(self, arg: str | None) -> None:
        transaction = self._transaction
        if transaction is None:
            self.blame(replies.NO_MAIL)
            return
        try:
            door = await self._door(arg or "", transaction.mail.smtputf8)
            if len(transaction.doors) >= self._reception.options.max_recipients:
                raise Reject(replies.TOO_MANY_RECIPIENTS)
        except Reject as refusal:
            self._refuse_recipient(transaction, refusal)
            return
        transaction.doors[door.address] = door
        self.answer(replies.RECIPIENT_OK)

    async def _door(self, argument: str, smtputf8: bool) -> ReturnDoor:
        if _BARE_POSTMASTER.fullmatch(argument):  # RFC 5321 §4.5.1
            return self._reception.postmaster()
        mailbox, _ = parse_rcpt(argument, smtputf8=smtputf8)
        return await self._reception.door(mailbox)

    def _refuse_recipient(self, transaction: _Transaction, refusal: Reject) -> None:
        """Who guesses addresses is cut off."""
        transaction.refused_recipients += 1
        self._log_refusal(refusal.reply)
        if transaction.refused_recipients > self._reception.options.max_refused:
            self.hang_up(replies.TOO_MANY_ERRORS)
        else:
            self.answer(refusal.reply)

    async def smtp_DATA(self, arg: str) -> None:
        transaction = self._transaction
        if arg:
            self.blame(replies.NO_ARGUMENT)
        elif transaction is None:
            self.blame(replies.NO_MAIL)
        elif not transaction.doors:
            self.blame(replies.NO_RECIPIENT)
        elif not self._service.admission.has_room(transaction.mail.size):
            self.answer(replies.BUSY)
        else:
            body = await self.read_body()
            await self._take(transaction, body)

    async def _take(self, transaction: _Transaction, body: Body | None) -> None:
        """Keep what was read; the transaction ends with the answer."""
        self._transaction = None
        self._is_committing = True
        try:
            if body is None:
                raise Reject(replies.BUSY)
            answer = await self._reception.keep(
                self._arriving(transaction), body.held, body.content
            )
            self._idle_commands = self._errors = 0
            self.answer(answer)
        except Reject as refusal:
            self._log_refusal(refusal.reply)
            self.answer(refusal.reply)
        finally:
            self._is_committing = False
            self.hold(0)
        await self.flush()

    def _arriving(self, transaction: _Transaction) -> Arriving:
        base = "UTF8SMTP" if transaction.mail.smtputf8 else "ESMTP"
        protocol = f"{base}{'S' if self._is_tls else ''}"
        return Arriving(
            doors=tuple(transaction.doors.values()),
            reverse_path=transaction.mail.reverse_path,
            client=self._caller.client,
            client_name=self.client_name,
            protocol=protocol if self._is_extended else "SMTP",
        )

    def _log_refusal(self, reply: Reply) -> None:
        self._reception.log.return_refused(reply, client=str(self._caller.client))
