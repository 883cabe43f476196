"""Several workers: one is killed and its mail taken over; all stop in order."""

import os
import signal
from pathlib import Path

import aiosmtplib

from soboo_mta.cli.trial.world import World
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import worker
from soboo_mta.store.writer import read_now
from tests.chaos.ready_world import DOMAIN, USER, ready_world, store_url
from tests.stories.load import Load, steady_load


def _processes(place: World) -> list[int]:
    """The processes of the workers whose leases hold."""
    engine = open_engine(store_url(place))
    try:
        rows = read_now(engine, lambda at: at.execute(worker.select()).all())
    finally:
        engine.dispose()
    return [row.process for row in rows if row.lease_until > 0]


def _load(place: World) -> Load:
    return Load(
        place=place,
        user=USER,
        author=f"app@{DOMAIN}",
        recipients=("ann@alpha.test", "bea@beta.test"),
    )


async def test_case_124_a_killed_workers_mail_is_taken_over_and_another_is_started(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world", workers=2) as place:
        # The first message waits at its host while its worker dies.
        (place.directory / "sinks.toml").write_text(
            '[[rule]]\nrecipient = "slow@alpha.test"\nstage = "data"\n'
            'action = "hang"\ntimes = 1\n'
        )
        await place.start_relay()
        stuck = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("slow@alpha.test",),
        )
        async with steady_load(stuck, connections=1):
            await place.until("a message hangs", lambda: _hangs(place), 10)

        async def do_both_work() -> bool:  # the relay greets with the first one
            return len(_processes(place)) == 2

        await place.until("both work", do_both_work, 10)
        before = _processes(place)
        for process in before:
            os.kill(process, signal.SIGKILL)
        await stuck.all_delivered(20)

        async def are_replaced() -> bool:
            return len(set(_processes(place)) - set(before)) == 2

        await place.until("both are started again", are_replaced, 10)
        assert {r.verdict.dmarc for r in place.lab.records} == {"pass"}


def _is_farewell(error: Exception) -> bool:
    """421 between two messages is unsolicited: the library then only says it is gone."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code == 421
    return isinstance(error, aiosmtplib.SMTPServerDisconnected)


async def _hangs(place: World) -> bool:
    return any(refusal.action == "hang" for refusal in place.lab.refusals)


async def test_case_133_134_stopping_under_load_exits_with_0_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world", workers=2) as place:
        await place.start_relay()
        load = _load(place)
        async with steady_load(load, connections=3):
            await load.more_delivered(50)
            assert await place.stop_relay() == 0
        assert len(load.cut_off) == 3
        assert all(_is_farewell(error) for error in load.cut_off), load.cut_off
        await place.start_relay()
        await load.all_delivered(20)
        delivered = [record.verdict.message_id for record in place.lab.records]
        assert len(delivered) == len(set(delivered))  # nothing twice
