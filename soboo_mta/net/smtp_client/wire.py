"""Groups of commands on the wire and their replies, counted and bounded.

aiosmtplib's protocol takes one command at a time; this one takes a group where the peer
offers PIPELINING (RFC 2920 §3.1). A reply nobody asked for, one that is not SMTP, or silence
makes the wire unclean for good, so that no answer is ever taken for another's.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from aiosmtplib.protocol import SMTPProtocol

from soboo_mta.mail.outcome import Deferred, Reason
from soboo_mta.net.smtp_client.tape import Tape, WireReply
from soboo_mta.transfer.classify import SERVICE_CLOSING, Stage, broken, is_fit

MAX_LINE: Final = 8_192  # a reply line; RFC 5321 §4.5.3.1.5 allows 512
MAX_REPLY: Final = 32_768  # a reply with all its lines: bounds memory (case 145)
COMMAND: Final = (Stage.MAIL,)  # for RSET and QUIT: 2xx, or the session is given up
_AFTER_CODE: Final = (b" ", b"-", b"\r", b"")


class Wire(SMTPProtocol):
    """aiosmtplib's protocol with groups of commands whose replies are counted.

    Once `is_clean` is False the connection is out of step, closing or lost, for good;
    `trouble` says why where answers are missing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[SMTPProtocol], None],
    ) -> None:
        super().__init__(loop=loop, connection_lost_callback=on_lost)
        self.is_clean = True
        self.tape = Tape()
        self.trouble: Deferred | None = None
        self._stages: Sequence[Stage] = ()
        self._replies: list[WireReply] = []
        self._lines: list[bytes] = []  # of a reply not yet complete
        self._octets = 0  # in those lines
        self._rest = b""  # a line not yet complete
        self._answered: asyncio.Future[None] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether nothing more is awaited: all replies came, or none will."""
        return self._answered is None or self._answered.done()

    async def exchange(
        self, octets: bytes, stages: Sequence[Stage], wait: float
    ) -> list[WireReply]:
        """Send a group of commands; return one reply for each stage.

        Fewer where the peer closes (421), is lost, silent for `wait` seconds, or does not
        speak SMTP; then the wire is no longer clean.
        """
        self.expect(stages, octets)
        self.put(octets)
        return await self.answers(wait)

    def expect(self, stages: Sequence[Stage], said: bytes | int) -> None:
        """Await a reply for each stage to what is said: a group of commands, or so many
        octets of content."""
        self._stages = stages
        self._replies = []
        self.tape.group(said, self._replies)
        self._answered = self._loop.create_future()

    def put(self, octets: bytes) -> None:
        """Write; on a lost connection the answers are given up."""
        transport = cast(asyncio.WriteTransport | None, self.transport)
        if self.is_clean and transport is not None and not transport.is_closing():
            transport.write(octets)
        else:
            self._give_up(Reason.CONNECTION, "the connection is lost")

    async def send(self, octets: bytes, wait: float) -> None:
        """Write a part of a content and wait until there is room for more."""
        self.put(octets)
        try:
            async with asyncio.timeout(wait):
                await self._drain_helper()
        except TimeoutError:
            self._give_up(Reason.TIMEOUT, "the peer stopped reading")
        except OSError:
            self._give_up(Reason.CONNECTION, "the connection was lost")

    async def answers(self, wait: float) -> list[WireReply]:
        """Return the replies expected, after at most `wait` seconds."""
        answered = self._answered
        if answered is not None and not answered.done():
            timer = self._loop.call_later(
                wait, self._give_up, Reason.TIMEOUT, "no answer in time"
            )
            try:
                await answered
            finally:
                timer.cancel()
        self._answered = None
        return self._replies

    # ---- while aiosmtplib opens the session

    def write(self, data: bytes) -> None:
        self.tape.opening(data, ours=True)
        super().write(data)

    # ---- called by the transport

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            if self._response_pending:
                self.tape.opening(data, ours=False)
                super().data_received(data)
            else:  # never to be taken for a later command's answer (case 149)
                self.is_clean = False
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for number, line in enumerate(lines):
            if not self._take_line(line):
                if number + 1 < len(lines) or self._rest:
                    self.is_clean = False  # more than was asked for
                return
        if len(self._rest) > MAX_LINE:
            self._give_up(Reason.PROTOCOL, "a reply line is too long")

    def eof_received(self) -> bool:
        self._give_up(Reason.CONNECTION, "the connection was closed")
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up(Reason.CONNECTION, "the connection was lost")
        super().connection_lost(exc)

    def _take_line(self, line: bytes) -> bool:
        """Take one line of a reply; whether more are awaited."""
        code, mark = line[:3], line[3:4]
        self._octets += len(line)
        if len(line) > MAX_LINE or self._octets > MAX_REPLY:
            return self._give_up(Reason.PROTOCOL, "a reply is too long")
        is_code = len(code) == 3 and code.isdigit() and mark in _AFTER_CODE
        if not is_code or (self._lines and self._lines[0][:3] != code):
            return self._give_up(Reason.PROTOCOL, "a reply is not SMTP")
        if mark == b"-":
            self._lines.append(line)
            return True
        text = b" ".join([part[4:].strip() for part in (*self._lines, line)])
        self._lines.clear()
        self._octets = 0
        return self._take_reply(int(code), text.decode("utf-8", "replace"))

    def _take_reply(self, code: int, text: str) -> bool:
        stage = self._stages[len(self._replies)]
        self._replies.append((code, text))
        if code == SERVICE_CLOSING or not is_fit(stage, code):
            self.is_clean = False
        elif len(self._replies) < len(self._stages):
            return True
        if self._answered is not None:
            self._answered.set_result(None)
        return False

    def _give_up(self, reason: Reason, detail: str) -> bool:
        """Nothing more is awaited from this peer; returns False, as "no more"."""
        self.is_clean = False
        if self._answered is not None and not self._answered.done():
            stage = self._stages[len(self._replies)]
            self.trouble = broken(stage, reason, detail)
            self._answered.set_result(None)
        return False
