"""The main path with PostgreSQL as the store: accept, hold, mend, deliver, trace."""

from pathlib import Path

import pytest

from soboo_mta.cli.trial.zones import without
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.stories.load import Load, steady_load


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_mail_flows_waits_and_leaves_on_postgresql(
    tmp_path: Path, store_url: str
) -> None:
    extra = f'\n[store]\nurl = "{store_url}"\n'
    async with ready_world(tmp_path / "world", workers=2, extra=extra) as place:
        records = await place.records(DOMAIN)
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "cas@gamma.test"),
        )
        async with steady_load(load, connections=2):
            await load.more_delivered(40)
            place.zones.write_customer(DOMAIN, without(records, "sb", "bounce."))

            async def is_held() -> bool:
                return "domain-broken" in await place.command("queue", "list")

            await place.until("mail is held", is_held)
            place.zones.write_customer(DOMAIN, records)
        assert not load.cut_off
        await load.all_delivered()
        listed = await place.command("queue", "list", "--json")
        assert await place.stop_relay() == 0
        assert "held" not in listed
