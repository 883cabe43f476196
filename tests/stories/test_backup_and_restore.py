"""An operator copies the store of a running relay, loses it, and puts the copy back."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World, WorldError
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.chaos.sender import written
from tests.stories.load import Load, steady_load

_CLOSED = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "451 4.3.2 Closed for the night"
"""


async def _submit(place: World, name: str, to: str) -> str:
    mail = written(name, (to,), b"x" * 50)
    parsed = message_from_bytes(mail.octets, EmailMessage, policy=policy.default)
    answer = await place.submit(USER, parsed, [to])
    return answer.split()[-1]


async def test_case_143_a_restore_sends_nothing_again_that_was_delivered_before_the_backup(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        (place.directory / "sinks.toml").write_text(_CLOSED)
        copy = str(place.directory / "copy.db")
        await place.start_relay()
        done = await _submit(place, "done", "bob@beta.test")
        waits = await _submit(place, "waits", "ann@alpha.test")

        async def is_so() -> bool:
            return "delivered" in await place.command(
                "queue", "why", done
            ) and "deferred" in await place.command("queue", "why", waits)

        await place.until("one is delivered, one waits", is_so)
        load = Load(
            place=place, user=USER, author=f"app@{DOMAIN}", recipients=("cy@beta.test",)
        )
        async with steady_load(load, connections=2):
            await load.more_delivered(5)
            assert "checked" in await place.command("store", "backup", copy)
            await load.more_delivered(5)
        assert not load.cut_off
        await load.all_delivered()
        with pytest.raises(WorldError, match="runs on this store"):
            await place.command("store", "restore", copy, "--yes")
        assert await place.stop_relay() == 0
        (place.directory / "data" / "soboo.db").write_bytes(b"lost")
        assert "kept" in await place.command("store", "restore", copy, "--yes")
        assert "whole" in await place.command("store", "check", "--content")
        (place.directory / "sinks.toml").write_text("")
        await place.start_relay()

        async def has_left() -> bool:
            return "delivered" in await place.command("queue", "why", waits)

        await place.until("what waited is delivered", has_left)

        async def is_empty() -> bool:  # what the backup had as under way goes again
            return "nothing waits" in await place.command("queue", "list")

        await place.until("nothing waits", is_empty)
        records = [one.verdict.message_id for one in place.lab.records]
        assert records.count(f"<done@{DOMAIN}>") == 1
        assert records.count(f"<waits@{DOMAIN}>") == 1


async def test_a_second_relay_on_the_same_store_is_refused(tmp_path: Path) -> None:
    async with ready_world(tmp_path / "world") as place:
        await place.start_relay()
        with pytest.raises(WorldError, match=r"a relay \(process \d+\) runs"):
            await place.command("serve")
        assert await place.answers()
