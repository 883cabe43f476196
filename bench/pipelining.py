"""How much PIPELINING gains on one connection: transactions a second to Postfix's smtp-sink.

    .venv/bin/python bench/pipelining.py

A proxy delays each direction by half the round trip; smtp-sink offers PIPELINING, then not.
"""

import asyncio
import time
from ipaddress import ip_address

from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.mail.outcome import Delivered
from soboo_mta.net.smtp_client import SmtpConnector
from soboo_mta.ports import ConnectFailure, HopAddress, TlsPolicy, Transaction

_CONTENT = (
    b"Subject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 300
)  # 10 KB
_SINK = 2601
_ROUND_TRIPS = {0.0: 2_000, 0.01: 300, 0.05: 100}  # seconds → transactions


async def main() -> None:
    for words in ((), ("-p",)):  # -p: without PIPELINING
        sink = await asyncio.create_subprocess_exec(
            *("smtp-sink", "-u", "root", *words, f"127.0.0.1:{_SINK}", "100")
        )
        await asyncio.sleep(1)
        for trip, transactions in _ROUND_TRIPS.items():
            server = await asyncio.start_server(_Delayed(trip / 2), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            best = max([await measure(port, transactions) for _ in range(3)])
            print(words, f"round trip {1_000 * trip:.0f} ms: {best:.1f} a second")
            server.close()
        sink.terminate()
        await sink.wait()


class _Delayed:
    """Each octet arrives so many seconds late, in order."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", _SINK)
        await asyncio.gather(
            self._pass(reader, far_writer), self._pass(far_reader, writer)
        )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while octets := await reader.read(65_536):
            if self._seconds:
                loop.call_later(self._seconds, writer.write, octets)
            else:
                writer.write(octets)
        loop.call_later(self._seconds, writer.close)


async def measure(port: int, transactions: int) -> float:
    """Return transactions a second over one session."""
    hop = HopAddress(host="sink", address=ip_address("127.0.0.1"), port=port)
    session = await SmtpConnector().connect(
        hop, ehlo="out.esp.example", source_address=None, tls=TlsPolicy.NONE
    )
    if isinstance(session, ConnectFailure):
        raise SystemExit(str(session.outcome))
    began = time.perf_counter()
    for _ in range(transactions):
        (outcome,) = await session.deliver(
            Transaction(
                reverse_path=ReversePath(parse_mailbox("b@bounce.customer.example")),
                recipients=(parse_mailbox("ann@there.example"),),
                octets=(_CONTENT,),
                eight_bit=False,
                smtputf8=False,
            )
        )
        if not isinstance(outcome, Delivered):
            raise SystemExit(str(outcome))
    took = time.perf_counter() - began
    await session.close()
    return transactions / took


if __name__ == "__main__":
    asyncio.run(main())
