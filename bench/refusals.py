"""What it costs to be refused: a transaction refused at RCPT, and the class of the refusal.

    .venv/bin/python bench/refusals.py

CPU of this process, best of five, in microseconds: client and peer over a loopback connection.
Replies differ from one another in the recipient, or in a serial of the receiver's; the last
ones have words that were never read before each time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import count

from soboo_mta.formats.classes.attempts import class_of
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.mail.outcome import Delivered, Held, Outcome
from soboo_mta.net.smtp_client import SmtpConnector
from soboo_mta.ports import ConnectFailure, HopAddress, Session, TlsPolicy, Transaction

_ROUNDS, _TRANSACTIONS = 5, 400
_NO_USER = "550 5.1.1 <u{0}@there.example>: Recipient address rejected: User unknown"
_GMAIL = (
    "550 5.1.1 The email account that you tried to reach does not exist. Please try "
    "double-checking the recipient's email address for typos or unnecessary spaces. For more "
    "information, go to https://support.there.example/?p=NoSuchUser "
    "d9443c01a7336-2a1b2c3d4e5si{0}567plx.42 - gsmtp"
)
_BUSY = "451 4.3.0 <u{0}@there.example>: temporary trouble, session 4f1a2b3c4d5e6f{0}"
_SPAM = "554 5.7.1 Message {0} of yours looks like spam to us"
_REPLIES: dict[str, Callable[[int], str]] = {
    "no such user": _NO_USER.format,
    "no such user, long and with a serial": _GMAIL.format,
    "trouble of the peer's": _BUSY.format,
    "spam": lambda number: _SPAM.format(number % 7),
    "spam, new words each time": _SPAM.format,
}


class _Peer(asyncio.Protocol):
    """Refuses each RCPT with the next reply."""

    def __init__(self, replies: Iterator[str]) -> None:
        self._replies = replies

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 there.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        answers = [self._answer(line) for line in data.splitlines()]
        self._transport.write("".join(f"{one}\r\n" for one in answers).encode())

    def _answer(self, line: bytes) -> str:
        match line[:4].upper():
            case b"EHLO":
                return "250-there.example\r\n250 PIPELINING"
            case b"RCPT":
                return next(self._replies)
            case b"DATA":
                return "503 no recipient"
        return "250 ok"


@asynccontextmanager
async def _session(replies: Iterator[str]) -> AsyncIterator[Session]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Peer(replies), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        hop = HopAddress(
            host="there.example", address=ip_address("127.0.0.1"), port=port
        )
        session = await SmtpConnector().connect(
            hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
        )
        assert not isinstance(session, ConnectFailure)
        yield session
        await session.close()


def _classified(outcome: Outcome) -> None:
    """As a settlement does, for its log line."""
    assert not isinstance(outcome, Delivered | Held)
    host = "there.example[127.0.0.1]:25"
    assert class_of(own_rules(), outcome.reason, str(outcome.reply), host) is not None


async def _refused(replies: Iterator[str]) -> float:
    transaction = Transaction(
        reverse_path=ReversePath(parse_mailbox("b-1@bounce.acme.example")),
        recipients=(parse_mailbox("ann@there.example"),),
        octets=(b"Subject: x\r\n\r\nx\r\n",),
        eight_bit=False,
        smtputf8=False,
    )
    async with _session(replies) as session:
        took = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            for _ in range(_TRANSACTIONS):
                (outcome,) = await session.deliver(transaction)
                _classified(outcome)
            took.append(time.process_time() - began)
    return min(took) / _TRANSACTIONS * 1e6


def main() -> None:
    print("| refusal | µs |\n|---|---|")
    for name, reply in _REPLIES.items():
        spent = asyncio.run(_refused(map(reply, count(100))))
        print(f"| {name} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
