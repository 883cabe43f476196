"""A relay that was started under `ulimit -n 64` (case 128): it takes and delivers what it
has descriptors for, and the rest when it has them again."""

import asyncio
from pathlib import Path
from random import Random

from tests.chaos.campaign import Campaign
from tests.chaos.ready_world import ready_world, store_url
from tests.chaos.sender import keep_coming

_LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
runpy.run_module("soboo_mta", run_name="__main__")
"""
_CLIENTS = 70  # for two workers: more than they have descriptors
_MESSAGES = 150


async def test_case_128_under_ulimit_64_nothing_is_lost(tmp_path: Path) -> None:
    room = {"SOBOO_SUBMISSION__MAX_CONNECTIONS_PER_ADDRESS": "1000"}
    async with ready_world(tmp_path / "world", workers=2, environment=room) as place:
        campaign = Campaign(place, Random(128), store_url(place))
        campaign.begin_life()
        await place.start_relay(("-c", _LIMITED))
        is_over = asyncio.Event()
        mails = iter(lambda: campaign.post.mail(0), None)

        async def are_enough() -> bool:
            return sum(mail.is_acknowledged for mail in campaign.post.sent) > _MESSAGES

        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(keep_coming(place, mails, until=is_over, quickly=3))
            await place.until("enough was taken", are_enough)
            is_over.set()
        assert "Too many open files" in place.relay_log()
        found = await campaign.settle()
    assert not found.wrong, found.wrong
    assert not campaign.damaged
    assert found.duplicates == 0
