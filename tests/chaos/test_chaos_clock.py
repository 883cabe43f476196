"""The wall clock jumps under load, forwards and back: what got 250 arrives, once, and in
time (case 136). Debian's faketime sets it, for the relay alone."""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

from tests.chaos.campaign import SESSIONS, Campaign
from tests.chaos.ready_world import DOMAIN, ready_world, store_url
from tests.chaos.sender import keep_coming

_JUMPS = ("+2h", "-3h", "+26h", "-40m", "+0")  # from the true time
_LOOKED_AT_EVERY = 1.5  # seconds, with some to spare: the relay looks each second


async def test_case_136_a_clock_that_jumps_loses_nothing_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library is not None, "Debian's faketime is missing: tests/interop/prepare.sh"
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    async with ready_world(tmp_path / "world", workers=2) as place:
        place.environment = {
            **place.environment,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no administrator sets that one
            # else each wait of a thread for the interpreter ends at once, and starves it
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
        await place.start_relay()
        campaign = Campaign(place, Random(136), store_url(place))
        post, is_over = campaign.post, asyncio.Event()
        mails = iter(lambda: post.mail(0), None)
        async with asyncio.TaskGroup() as group:
            for _ in range(SESSIONS):
                group.create_task(keep_coming(place, mails, until=is_over, quickly=20))
            for jump in _JUMPS:
                await campaign.flows(f"before {jump}")
                fresh = clock.with_suffix(".new")
                fresh.write_text(f"{jump}\n")
                fresh.replace(clock)
                await campaign.flows(f"after {jump}")
                await asyncio.sleep(_LOOKED_AT_EVERY)
            is_over.set()
        assert "clock_set_back" in place.relay_log()
        await campaign.run_dry()  # what gamma.test put off is tried again in time
    copies = Counter(
        (record.verdict.message_id, to)
        for record in place.lab.records
        for to in record.rcpt_to
    )
    assert {record.verdict.dmarc for record in place.lab.records} == {"pass"}
    assert copies == {
        (f"<{mail.name}@{DOMAIN}>", to): 1
        for mail in post.sent
        if mail.is_acknowledged
        for to in mail.recipients
    }
    assert len(copies) > len(_JUMPS) * SESSIONS
