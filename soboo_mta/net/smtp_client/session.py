"""One mail transaction after another over an open session (RFC 5321 §3.3).

One outcome for each recipient, whatever the peer does; a session that is out of step is
closed rather than mended by guessing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from soboo_mta.formats.dsn.parameters import mail_parameters, recipient_parameters
from soboo_mta.mail.outcome import Deferred, Outcome, Reason
from soboo_mta.net.smtp_client.limits import Limits
from soboo_mta.net.smtp_client.opening import Client
from soboo_mta.net.smtp_client.tape import WireReply
from soboo_mta.net.smtp_client.wire import COMMAND
from soboo_mta.ports import SmtpTimeouts, Transaction
from soboo_mta.transfer.classify import (
    INTERRUPTED,
    SERVICE_CLOSING,
    START_INPUT,
    Stage,
    broken,
    expected,
    unsupported,
)

_CHUNK: Final = 65_536  # larger contents are written piece by piece
_QUIT_PATIENCE: Final = timedelta(seconds=5)  # the mail is delivered; do not wait long
Meaning = Callable[[Stage, int, str], Outcome]  # of a reply: its code and its text
_UNANSWERED: Final = broken(Stage.MAIL, Reason.PROTOCOL, "no answer of use")


class SmtpSession:
    """One connection that has said EHLO (ports.Session); used serially."""

    def __init__(
        self, client: "Client", timeouts: SmtpTimeouts, *, dialogue_octets: int
    ) -> None:
        self._client = client
        self._dialogue_octets = dialogue_octets
        self._wire = client.wire
        self._tls = client.tls
        self._limits = Limits.said(client.esmtp_extensions)
        self._transactions = 0
        self._pipelines = client.supports_extension("pipelining")
        self._says_size = client.supports_extension("size")
        self._eight_bit = client.supports_extension("8bitmime")
        self._smtputf8 = client.supports_extension("smtputf8")
        self._dsn = client.supports_extension("dsn")
        self._command = timeouts.command.total_seconds()
        self._data_start = timeouts.data_start.total_seconds()
        self._data_block = timeouts.data_block.total_seconds()
        self._data_done = timeouts.data_done.total_seconds()

    @property
    def tls(self) -> str:
        return self._tls

    @property
    def offers_dsn(self) -> bool:
        return self._dsn

    @property
    def is_usable(self) -> bool:
        most = self._limits.transactions
        is_worn = 0 < most <= self._transactions
        return self._is_whole and not is_worn

    @property
    def _is_whole(self) -> bool:
        return self._wire.is_clean and self._client.is_connected

    @property
    def takes_eight_bit(self) -> bool:
        return self._eight_bit

    async def deliver(self, transaction: Transaction) -> tuple[Outcome, ...]:
        """Run one transaction, or several where the peer takes fewer recipients at a
        time; one outcome per recipient (see ports.Session)."""
        self._wire.tape.begin()
        size = sum(map(len, transaction.octets))
        refusal = self._cannot_take(transaction, size)
        if refusal is not None:
            return (refusal,) * len(transaction.recipients)
        outcomes: tuple[Outcome, ...] = ()
        try:
            for group in self._groups(transaction):
                if outcomes and not self.is_usable:
                    outcomes += (_UNANSWERED,) * len(group.recipients)
                else:
                    outcomes += await self._transact(group, size)
            return outcomes
        except BaseException:  # cancelled: what is half said must not be continued
            self._client.abort()
            raise

    def dialogue(self) -> str:
        """What was said: the opening, and the last transaction (see ports.Session)."""
        return self._wire.tape.text(self._dialogue_octets)

    async def close(self) -> None:
        """QUIT politely where the connection is whole, then close."""
        try:
            if self._is_whole:  # nothing of ours hangs on the answer
                patience = _QUIT_PATIENCE.total_seconds()
                await self._wire.exchange(b"QUIT\r\n", COMMAND, patience)
        finally:
            self._client.abort()

    # ---- one transaction

    def _groups(self, transaction: Transaction) -> Iterator[Transaction]:
        everyone, most = transaction.recipients, self._limits.recipients
        if len(everyone) <= most:
            yield transaction
            return
        for start in range(0, len(everyone), most):
            yield replace(transaction, recipients=everyone[start : start + most])

    def _cannot_take(self, transaction: Transaction, size: int) -> Outcome | None:
        if transaction.eight_bit and not self._eight_bit:
            return unsupported(
                "5.6.3", "the next hop takes no 8-bit content (8BITMIME)"
            )
        if transaction.smtputf8 and not self._smtputf8:
            return unsupported(
                "5.6.7", "the next hop takes no UTF-8 addresses (SMTPUTF8)"
            )
        if 0 < self._limits.octets < size:
            return unsupported(
                "5.3.4", f"over the next hop's limit of {self._limits.octets} octets"
            )
        if not _has_crlf_only(transaction.octets):
            # a bare CR or LF would be read as a line end by some: smuggling (case 3)
            return unsupported("5.6.0", "the message has a bare CR or LF")
        return None

    async def _transact(
        self, transaction: Transaction, size: int
    ) -> tuple[Outcome, ...]:
        self._transactions += 1
        commands = self._commands(transaction, size)
        stages = (Stage.MAIL, *(Stage.RCPT,) * len(transaction.recipients), Stage.DATA)
        if self._pipelines:
            wait = self._command + self._data_start
            replies = await self._wire.exchange(b"".join(commands), stages, wait)
        else:
            replies = await self._in_lock_step(commands, stages)
        outcomes = envelope_outcomes(
            stages, replies, self._wire.trouble, meaning=self._client.meaning
        )
        if len(replies) == len(stages) and replies[-1][0] == START_INPUT:
            if None in outcomes:
                final = await self._send(transaction)
                return tuple(final if o is None else o for o in outcomes)
            # 354 without a recipient: a lone dot ends it (RFC 2920 §3.1)
            await self._wire.exchange(b".\r\n", COMMAND, self._data_done)
        await self._back_in_step()
        return tuple(_UNANSWERED if o is None else o for o in outcomes)

    def _commands(self, transaction: Transaction, size: int) -> list[bytes]:
        parameters = f" SIZE={size}" if self._says_size else ""
        if transaction.eight_bit:
            parameters += " BODY=8BITMIME"
        if transaction.smtputf8:
            parameters += " SMTPUTF8"
        wanted = [""] * len(transaction.recipients)
        if self._dsn and transaction.dsn is not None:
            parameters += mail_parameters(transaction.dsn)
            wanted = [recipient_parameters(one) for one in transaction.dsn.asked]
        mail = f"MAIL FROM:<{transaction.reverse_path}>{parameters}\r\n"
        recipients = [
            f"RCPT TO:<{to}>{asked}\r\n".encode()
            for to, asked in zip(transaction.recipients, wanted, strict=True)
        ]
        return [mail.encode(), *recipients, b"DATA\r\n"]

    async def _in_lock_step(
        self, commands: Sequence[bytes], stages: Sequence[Stage]
    ) -> list[WireReply]:
        """Each command after the answer to the one before; stops where it is in vain."""
        replies: list[WireReply] = []
        for command, stage in zip(commands, stages, strict=True):
            if stage is Stage.DATA and not any(
                expected(Stage.RCPT, code) for code, _ in replies[1:]
            ):
                break
            wait = self._data_start if stage is Stage.DATA else self._command
            replies += await self._wire.exchange(command, (stage,), wait)
            if not self._wire.is_clean:
                break
            if stage is Stage.MAIL and not expected(stage, replies[0][0]):
                break
        return replies

    async def _back_in_step(self) -> None:
        """After a transaction that sent no content: forget it, or give the session up."""
        if self._is_whole:
            replies = await self._wire.exchange(b"RSET\r\n", COMMAND, self._command)
            if replies and expected(Stage.MAIL, replies[0][0]):
                return
        self._client.abort()

    async def _send(self, transaction: Transaction) -> Outcome:
        content = dot_stuffed(transaction.octets)
        self._wire.expect((Stage.DOT,), len(content))
        start = 0
        while len(content) - start > _CHUNK and not self._wire.is_answered:
            await self._wire.send(content[start : start + _CHUNK], self._data_block)
            start += _CHUNK
        if self._wire.is_answered:
            return self._cut_off(await self._wire.answers(self._data_done))
        if not transaction.may_finish():
            self._client.abort()
            return INTERRUPTED
        self._wire.put(content[start:] if start else content)
        answers = await self._wire.answers(self._data_done)
        return self._final(answers, whole=self._wire.is_clean)

    def _cut_off(self, answers: Sequence[WireReply]) -> Outcome:
        """An answer before the final dot can refuse, never deliver; the peer may still
        read what comes as content: nothing more is said to it."""
        self._client.abort()
        if answers and expected(Stage.DOT, answers[0][0]):
            return broken(Stage.DOT, Reason.PROTOCOL, "answered before the final dot")
        return self._final(answers, whole=True)

    def _final(self, answers: Sequence[WireReply], *, whole: bool) -> Outcome:
        if not whole:
            self._client.abort()
        if not answers:
            return self._wire.trouble or _UNANSWERED
        code, text = answers[0]
        return self._client.meaning(Stage.DOT, code, text)


def envelope_outcomes(
    stages: Sequence[Stage],
    replies: Sequence[WireReply],
    trouble: Deferred | None,
    *,
    meaning: Meaning,
) -> list[Outcome | None]:
    """What MAIL, RCPT and DATA were answered, per recipient; None: accepted so far.

    What ends all (a refused MAIL or DATA, 421, a lost connection) counts for each
    recipient that was not refused by itself.
    """
    refusals = [
        None if expected(stage, code) else meaning(stage, code, text)
        for stage, (code, text) in zip(stages, replies, strict=False)
    ]
    recipients = len(stages) - 2
    mail = refusals[0] if refusals else None
    own: list[Outcome | None] = [*refusals[1 : recipients + 1]]
    own += [None] * (recipients - len(own))
    closing = next((r for r in refusals if r is not None and is_closing(r)), None)
    data = refusals[-1] if len(refusals) == len(stages) else None
    if mail is not None:  # RCPT and DATA answered 503 only because of it
        return [mail] * recipients
    for_all = data or closing or trouble
    return [outcome or for_all for outcome in own]


def dot_stuffed(pieces: Sequence[bytes]) -> bytes:
    """Return the pieces as DATA takes them, final dot included (RFC 5321 §4.5.2).

    Each piece begins a line; all line ends are CRLF.
    """
    content = b"".join(pieces)
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")


def _has_crlf_only(pieces: Sequence[bytes]) -> bool:
    for piece in pieces:
        rest = piece.replace(b"\r\n", b"")
        if b"\n" in rest or b"\r" in rest:
            return False
    return True


def is_closing(outcome: Outcome) -> bool:
    """Whether the peer said 421: it closes the connection (RFC 5321 §3.8)."""
    return isinstance(outcome, Deferred) and outcome.reply.code == SERVICE_CLOSING
