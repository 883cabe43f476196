"""strace shows that each message is synced before `250` is written (RFC 5321 §6.1).

kill -9 cannot show it: what was written and never synced survives a kill, not a power
loss. The same look fails on a relay whose `synchronous` was lowered.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import ready_world
from tests.chaos.sender import Client, Mail, Post
from tests.interop.syncs import Answered, Call, calls, traced, unsynced

_CALLS = "trace=pwrite64,pwritev,write,writev,sendto,sendmsg,fsync,fdatasync"
_SESSIONS = 3
_EACH = 5  # messages a session: one of them is staged in pieces
_LOWERED = str(Path(__file__).with_name("lowered.py"))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with ready_world(tmp_path) as made:
        yield made


async def test_case_122_137_each_message_is_synced_before_its_250(place: World) -> None:
    trace, sent = await _seen(place, ("-m", "soboo_mta"))
    assert unsynced(trace, sent) == []


@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
async def test_the_look_fails_where_synchronous_is_lowered(
    place: World, level: str
) -> None:
    trace, sent = await _seen(place, (_LOWERED, level))
    troubles = unsynced(trace, sent)
    assert len(troubles) == len(sent), troubles
    assert all("no sync" in trouble for trouble in troubles), troubles


def test_a_sync_that_began_too_early_or_ended_too_late_does_not_count() -> None:
    line = "0123456789abcde" * 5
    wal, socket = "5</d/soboo.db-wal>", "9<socket:[1]>"
    write = f'1 pwrite64({wal}, "{line}\\r\\n", 77, 0) = 77'
    answer = f'2 write({socket}, "250 2.0.0 Accepted as 7\\r\\n", 9) = 9'
    begun, ended = f"1 fdatasync({wal} <unfinished ...>", "1 <... fdatasync resumed>) ="
    sent = [Answered(name="m", lines=(line,), accepted_as="7")]
    good = [write, begun, f"{ended} 0", answer]
    assert unsynced(calls(good), sent) == []
    bad = {
        "too early": [begun, write.replace("1 ", "3 ", 1), f"{ended} 0", answer],
        "too late": [write, begun, answer, f"{ended} 0"],
        "failed": [write, begun, f"{ended} -1 EIO", answer],
        "another file": [text.replace("-wal", "") for text in good],
        "before the write": [begun, f"{ended} 0", write, answer],
        "after the answer": [answer, *good[:-1]],
    }
    for what, lines in bad.items():
        assert len(unsynced(calls(lines), sent)) == 1, what


async def _seen(
    place: World, command: tuple[str, ...]
) -> tuple[list[Call], list[Answered]]:
    """Run the relay, submit under strace; return its calls and what got 250."""
    await place.start_relay(command)
    assert place.relay is not None
    out = place.directory / "strace.out"
    post = Post(Random(1))
    tracing = traced(place.relay.pid, out, "-e", _CALLS)
    async with tracing, asyncio.TaskGroup() as group:
        for _ in range(_SESSIONS):
            mails = [post.mail(0) for _ in range(_EACH)]
            group.create_task(_submit(place, mails))
    assert await place.stop_relay(signal.SIGTERM) == 0
    with out.open(errors="replace") as lines:
        return calls(lines), [_answered(mail) for mail in post.sent]


async def _submit(place: World, mails: list[Mail]) -> None:
    client = await Client.connect(place)
    for mail in mails:
        await client.submit(mail)
    client.close()


def _answered(mail: Mail) -> Answered:
    assert mail.is_acknowledged, mail.reply
    body = mail.octets.partition(b"\r\n\r\n")[2].decode()
    lines = tuple(line[1:] for line in body.split("\r\n") if len(line) == 76)
    return Answered(
        name=mail.name, lines=lines, accepted_as=mail.reply.rpartition(" ")[2]
    )
