"""What each step of acceptance and departure takes by itself, in microseconds.

    .venv/bin/python bench/steps.py

Best of seven, on one message of 10 KB with 15 header fields; the store's steps in groups of
50 on an SQLite file, all included. On an idle machine.
"""

import asyncio
import sys
import tempfile
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import generate_ed25519, generate_rsa, load_signing_key
from soboo_mta.formats.mime.seven_bit import seven_bit
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.plan import depart
from soboo_mta.identity.state import Plan
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Delivered
from soboo_mta.mail.reply import reply
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.smtp_client.session import dot_stuffed
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.spool import Spool
from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import upgrade
from soboo_mta.store.writer import Writer
from soboo_mta.submission.framing import check_framing
from soboo_mta.submission.policy import read_author, read_header
from soboo_mta.submission.rewrite import rewrite

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.fakes.connector import OPERATOR, SOURCE, a_message, good_state

_ROUNDS, _GROUP = 7, 50
_FIELDS = "".join(
    f"X-Field-{n}: some value of a usual length, {n}\r\n" for n in range(9)
)
_HEADER = (
    "From: News of Customer <news@customer.example>\r\nTo: Bob <bob@there.example>\r\n"
    "Subject: What is new\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    f"Message-ID: <1@customer.example>\r\nMIME-Version: 1.0\r\n{_FIELDS}\r\n"
).encode()
_BODY = (b"A line of text as long as lines are on the average, seventy-odd.\r\n") * 150
_CONTENT = _HEADER + _BODY
_DELIVERED = Delivered(reply=reply(250, "2.0.0", "Taken"))


def main() -> None:
    print("| step | µs |\n|---|---|")
    for name, function in _steps().items():
        print(f"| {name} | {_best(function):.1f} |", flush=True)
    with tempfile.TemporaryDirectory() as home:
        for name, microseconds in asyncio.run(_store_steps(Path(home))).items():
            print(f"| {name} | {microseconds:.0f} |")


def _best(function: Callable[[], object]) -> float:
    timer = timeit.Timer(function)
    times = max(1, int(timer.autorange()[0] // 5))
    return min(timer.repeat(_ROUNDS, times)) / times * 1e6


def _steps() -> dict[str, Callable[[], object]]:
    header, digest = read_header(_CONTENT), body_hash(_BODY)
    rsa, ed25519 = generate_rsa(), generate_ed25519()
    state, signer = good_state(rsa), Signer()
    plan = depart(state, SOURCE, OPERATOR, None)
    assert isinstance(plan, Plan)
    unsigned = signer.prepare(HeaderBlock.parse(_CONTENT), digest)
    keys = [load_signing_key(one.private, one.algorithm) for one in (rsa, ed25519)]
    verp, bounces = VerpSigner({1: b"k" * 32}, 1), Domain("bounce.customer.example")
    address = verp.address(MessageId(1), 0, 4_000_000_000_000, bounces)
    eight_bit = _HEADER.replace(
        b"MIME-Version: 1.0",
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit",
    ) + _BODY.replace(b"average", "durchschnittlich größer".encode())

    def sign(key: int) -> Callable[[], object]:
        return lambda: unsigned.signature_header(
            plan=plan.signatures[0], key=keys[key], signed_at=1_800_000_000
        )

    return {
        "framing checked": lambda: check_framing(_CONTENT, mend_line_ends=False),
        "header parsed and checked": lambda: read_header(_CONTENT),
        "From decided": lambda: read_author(header, smtputf8=False),
        "header rewritten": lambda: rewrite(
            header,
            message_id=MessageId(1),
            author_domain=Domain("customer.example"),
            host_name=Domain("mta1.esp.example"),
            protocol="ESMTPSA",
            now=datetime(2026, 11, 24, tzinfo=UTC),
        ),
        "body hash, relaxed": lambda: body_hash(_BODY),
        "departure plan, not cached": lambda: depart(state, SOURCE, OPERATOR, None),
        "DKIM: header canonical and hashed": lambda: signer.prepare(header, digest),
        "DKIM: signature field, RSA-2048": sign(0),
        "DKIM: signature field, Ed25519": sign(1),
        "RSA-2048 alone (OpenSSL)": lambda: keys[0].sign(digest),
        "reverse-path made": lambda: verp.address(
            MessageId(1), 0, 4_000_000_000_000, bounces
        ),
        "reverse-path opened": lambda: verp.open(address.local_part, bounces, 0),
        "dots stuffed": lambda: dot_stuffed((_CONTENT,)),
        "7-bit form of 8-bit text": lambda: seven_bit(eight_bit),
    }


async def _store_steps(home: Path) -> dict[str, float]:
    engine, clock = open_engine(f"sqlite:///{home / 'soboo.db'}"), SystemClock()
    upgrade(engine)
    writer = Writer(engine)
    await writer.start()
    try:
        lease = WorkerLease(writer=writer, clock=clock)
        await lease.register(host="bench", process=1)
        spool = Spool(writer=writer, lease=lease, clock=clock)
        accepted, settled = [], []
        for start in range(0, _ROUNDS * 4 * _GROUP, _GROUP):
            messages = [
                a_message(number + 1, content=_CONTENT)
                for number in range(start, start + _GROUP)
            ]
            began = clock.monotonic()
            await asyncio.gather(*(spool.accept(one, claim=False) for one in messages))
            accepted.append(clock.monotonic() - began)
            claimed = await spool.claim_due(_GROUP)
            assert len(claimed) == _GROUP
            began = clock.monotonic()
            await asyncio.gather(
                *(
                    writer.commit(
                        spool.settlement(
                            one, _DELIVERED, at=clock.unix_ms(), due_at=None
                        )
                    )
                    for one in claimed
                )
            )
            settled.append(clock.monotonic() - began)
    finally:
        await writer.close()
        engine.dispose()
    return {
        f"accepted, in groups of {_GROUP}": min(accepted) / _GROUP * 1e6,
        f"settled, in groups of {_GROUP}": min(settled) / _GROUP * 1e6,
    }


if __name__ == "__main__":
    main()
