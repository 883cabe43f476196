"""The message of a submission, by DATA or BDAT: read, judged, kept, answered.

RFC 5321 §4.1.1.4, RFC 3030 §2.
"""

import math
from dataclasses import dataclass, field

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.notify import Asked, DsnRequest
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.arguments import MailArgument
from soboo_mta.net.smtp_server.limits.pace import Pace
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.protocol.body import Body
from soboo_mta.net.smtp_server.protocol.chunks import Chunks, parse_chunk
from soboo_mta.net.smtp_server.session.connection import READ_OCTETS
from soboo_mta.net.smtp_server.session.login import LoginSession, SubmissionService
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Envelope, Login


@dataclass(frozen=True, slots=True)
class Upload:
    """A message that comes in chunks, and the pace at which it does."""

    chunks: Chunks
    pace: Pace


@dataclass(slots=True, kw_only=True)
class Transaction:
    """What MAIL began: who sends what to whom, and what came of it by BDAT."""

    login: Login
    mail: MailArgument
    release_at: int | None = None  # unix ms; None: at once
    recipients: dict[Mailbox, Asked] = field(default_factory=dict)
    refused_recipients: int = 0
    upload: Upload | None = None

    @property
    def dsn(self) -> DsnRequest | None:
        """What reports the sender asked for; None: none."""
        request = DsnRequest(
            returned=self.mail.returned,
            envelope_id=self.mail.envelope_id,
            asked=tuple(self.recipients.values()),
        )
        return None if request.is_empty else request


class ContentSession(LoginSession):
    """A connection that takes messages."""

    def __init__(
        self, service: SubmissionService, listener: Listener, caller: Caller
    ) -> None:
        self._transaction: Transaction | None = None
        super().__init__(service, listener, caller)

    @property
    def is_in_transaction(self) -> bool:
        return self._transaction is not None

    def forget_transaction(self) -> None:
        self._transaction = None
        self._content_deadline = math.inf
        self.hold(0)

    # ---- DATA

    async def smtp_DATA(self, arg: str) -> None:
        transaction = self._transaction
        if arg:
            self.blame(replies.NO_ARGUMENT)
        elif transaction is None:
            self.blame(replies.NO_MAIL)
        elif transaction.upload is not None:
            self.blame(replies.DATA_AFTER_BDAT)
        elif not transaction.recipients:
            self.blame(replies.NO_RECIPIENT)
        elif not self._service.admission.has_room(transaction.mail.size):
            self.answer(replies.BUSY)
        else:
            await self._take_data(transaction)

    async def _take_data(self, transaction: Transaction) -> None:
        body = await self.read_body()
        if body is None:
            self._refuse_message(transaction, replies.BUSY)
        else:
            await self._take_message(transaction, body)

    # ---- BDAT

    async def smtp_BDAT(self, arg: str) -> None:
        if not self._listener.chunking:  # what follows must not be read as commands
            self.hang_up(replies.NO_CHUNKING)
            return
        if self._login is None:  # nor is it read for nothing
            self.hang_up(replies.LOGIN_FIRST)
            return
        try:
            size, is_last = parse_chunk(arg)
        except Reject as refusal:
            self.hang_up(refusal.reply)
            return
        transaction = self._transaction
        upload = self._upload_of(transaction)
        await self._read_chunk(upload, size)
        if transaction is None:
            self.blame(replies.NO_MAIL)
        elif transaction.upload is None:
            self.blame(replies.NO_RECIPIENT)
        elif is_last:
            await self._take_message(transaction, upload.chunks)
        elif upload.chunks.refusal is not None:
            self.answer(upload.chunks.refusal.reply)
        else:
            self.answer(reply(250, "2.0.0", f"{size} octets received"))

    def _upload_of(self, transaction: Transaction | None) -> Upload:
        """The message that a chunk belongs to; one that keeps nothing where there is
        none, as its octets come all the same (RFC 3030 §2)."""
        if transaction is not None and transaction.upload is not None:
            return transaction.upload
        upload = Upload(
            Chunks(self._max_octets),
            Pace(self._options, self.loop.time()),
        )
        if transaction is not None and transaction.recipients:
            transaction.upload = upload
        else:
            upload.chunks.give_up(Reject(replies.NO_MAIL))
        return upload

    async def _read_chunk(self, upload: Upload, size: int) -> None:
        """Read it whole, kept or not; until the next one the pace goes on counting."""
        chunks, pace = upload.chunks, upload.pace
        chunks.expect(size)
        if chunks.received + size > self._most_drained:
            self.end_draining()
        self._is_in_content = True
        while size:
            octets = await self.read_some(min(size, READ_OCTETS), pace)
            size -= len(octets)
            chunks.feed(octets)
            if not self.hold(chunks.held):
                chunks.give_up(Reject(replies.BUSY))
                self.hold(0)
        self._is_in_content = False
        if self._held:
            self._content_deadline = pace.deadline(self.loop.time())

    # ---- both

    async def _take_message(
        self, transaction: Transaction, received: Body | Chunks
    ) -> None:
        """Judge and keep what was received; the transaction ends with the answer."""
        self._transaction = None
        self._content_deadline = math.inf
        self._is_committing = True
        try:
            content = await self._acceptance.apart(received.held, received.content)
            answer = await self._acceptance.data(
                transaction.login, self._envelope(transaction), content
            )
            self._idle_commands = self._errors = 0
            self.answer(answer)
        except Reject as refusal:
            self._refuse_message(transaction, refusal.reply)
        finally:
            self._is_committing = False
            self.hold(0)
        await self.flush()

    def _refuse_message(self, transaction: Transaction, answer: Reply) -> None:
        self.forget_transaction()
        login = transaction.login
        self._acceptance.log.refused(
            answer, client=str(login.client), tenant=login.tenant
        )
        self.answer(answer)

    def _envelope(self, transaction: Transaction) -> Envelope:
        return Envelope(
            reverse_path=transaction.mail.reverse_path,
            recipients=tuple(transaction.recipients),
            smtputf8=transaction.mail.smtputf8,
            dsn=transaction.dsn,
            release_at=transaction.release_at,
            protocol=self._protocol_name(transaction),
        )

    def _protocol_name(self, transaction: Transaction) -> str:
        """The word of RFC 3848 and RFC 6531 §4.3."""
        if not self._is_extended:
            return "SMTP"
        base = "UTF8SMTP" if transaction.mail.smtputf8 else "ESMTP"
        has_login = "A" if transaction.login.credential is not None else ""
        return f"{base}{'S' if self._is_tls else ''}{has_login}"
