"""The commands of a submission server, each judged in `submission/acceptance`.

RFC 5321 §4.1.1, RFC 6409 §4, RFC 1870, 2034, 2920, 4954, 6152, 6531.
"""

from soboo_mta.mail.errors import Reject
from soboo_mta.net.smtp_server.arguments import parse_mail, parse_rcpt
from soboo_mta.net.smtp_server.session.content import ContentSession, Transaction
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Login


class SubmissionSession(ContentSession):
    """One connection, from its greeting to QUIT."""

    def extensions(self) -> list[str]:
        lines = [
            f"SIZE {self._max_octets}",
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
        ]
        future = self._acceptance.future_release()
        if future is not None:
            lines.append(f"FUTURERELEASE {future}")
        if self._listener.chunking:
            lines.append("CHUNKING")
        if mechanisms := self.mechanisms:
            lines.append(f"AUTH {mechanisms}")
        return lines

    # ---- the transaction

    async def smtp_MAIL(self, arg: str | None) -> None:
        login = self._login
        if not self._has_greeted:
            self.blame(replies.SAY_EHLO)
        elif login is None:
            self.blame(replies.LOGIN_FIRST)
        elif self._transaction is not None:
            self.blame(replies.NESTED_MAIL)
        else:
            mail = parse_mail(arg or "")
            release_at = self._acceptance.release_time(mail.hold)
            await self._admit(login, mail.size)
            self._transaction = Transaction(
                login=login, mail=mail, release_at=release_at
            )
            self.answer(replies.SENDER_OK)

    async def _admit(self, login: Login, size: int) -> None:
        """Raise Reject unless one more message may come now."""
        try:
            await self._acceptance.mail(login, size)
        except Reject as refusal:
            if refusal.reply is replies.REVOKED:
                self._become(None)
            raise
        if not self._service.admission.has_room(size):
            raise Reject(replies.BUSY)
        if not self._service.rates.may_send(self._client_key, login.credential):
            raise Reject(replies.SENDING_TOO_OFTEN)

    async def smtp_RCPT(self, arg: str | None) -> None:
        transaction = self._transaction
        if transaction is None:
            self.blame(replies.NO_MAIL)
            return
        if transaction.upload is not None:
            self.blame(replies.RCPT_AFTER_BDAT)
            return
        try:
            smtputf8 = transaction.mail.smtputf8
            mailbox, asked = parse_rcpt(arg or "", smtputf8=smtputf8)
            if mailbox not in transaction.recipients:
                self._make_room_for_one(transaction)
                await self._acceptance.recipient(transaction.login, mailbox)
        except Reject as refusal:
            self._refuse_recipient(transaction, refusal)
            return
        transaction.recipients[mailbox] = asked
        self.answer(replies.RECIPIENT_OK)

    def _make_room_for_one(self, transaction: Transaction) -> None:
        if len(transaction.recipients) >= self._acceptance.options.max_recipients:
            raise Reject(replies.TOO_MANY_RECIPIENTS)
        credential = transaction.login.credential
        if not self._service.rates.may_address(self._client_key, credential):
            raise Reject(replies.RECIPIENTS_TOO_OFTEN)

    def _refuse_recipient(self, transaction: Transaction, refusal: Reject) -> None:
        """As many may be refused as accepted; a client that goes on is cut off."""
        transaction.refused_recipients += 1
        if transaction.refused_recipients > self._acceptance.options.max_recipients:
            self.hang_up(replies.TOO_MANY_ERRORS)
        else:
            self.answer(refusal.reply)
