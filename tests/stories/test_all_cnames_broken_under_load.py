"""A customer takes all its CNAMEs away: from the look that sees it on, all mail waits.

No relay can know of a change before it has looked, so the stream rests over the change
itself; what is submitted after it is held, and leaves under load once DNS is mended.
"""

from pathlib import Path

from soboo_mta.cli.trial.zones import without
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.stories.load import Load, steady_load


async def test_case_069_mail_waits_while_no_name_is_left_and_leaves_aligned_when_mended(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        records = await place.records(DOMAIN)
        place.zones.write_customer(DOMAIN, without(records, "bounce.", "sb"))
        await place.command("domain", "verify", DOMAIN, codes=(1,))
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "bea@beta.test"),
        )
        async with steady_load(load):
            await place.until("much mail waits", lambda: _waits(load, 100))
            assert "domain-broken" in await place.command("queue", "list")
            assert place.lab.received == 0
            place.zones.write_customer(DOMAIN, records)
            await load.more_delivered(150)
        assert not load.cut_off
        await load.all_delivered()
        assert {record.verdict.dmarc for record in place.lab.records} == {"pass"}
        assert len(place.lab.records) == len(load.accepted)


async def _waits(load: Load, number: int) -> bool:
    """Whether so many were accepted; none was delivered so far."""
    return len(load.accepted) >= number
