"""A key leaked: it is swapped and revoked while mail flows, and none of it is harmed."""

import json
from pathlib import Path

from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.stories.load import Load, steady_load


async def test_case_057_no_message_is_unaligned_and_the_leaked_key_signs_no_more(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world", workers=2) as place:
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "bea@beta.test"),
        )
        async with steady_load(load):
            await load.more_delivered(150)
            said = await place.command("key", "rotate", DOMAIN, "--emergency", "--yes")
            await place.publish_operator()
            revoked_at = place.lab.received
            await load.more_delivered(150)
        assert not load.cut_off
        await load.all_delivered()
        keys = json.loads(await place.command("key", "list", DOMAIN, "--json"))

        records = list(place.lab.records)
        assert {record.verdict.dmarc for record in records} == {"pass"}
        assert all(len(record.verdict.dkim) == 1 for record in records)
        assert {r.verdict.dkim[0].result for r in records} == {"pass"}
        selectors = [record.verdict.dkim[0].s for record in records]
        leaked, fresh = selectors[0], selectors[-1]
        assert leaked != fresh
        assert set(selectors[revoked_at:]) == {fresh}
        states = {key["selector"]: key["state"] for key in keys}
        assert states[leaked] == "revoked", said
        assert states[fresh] == "active"
        assert "next" in states.values()  # a second emergency would find a key
        assert load.delivered() == set(load.accepted)


async def test_a_second_emergency_finds_a_key_that_the_customer_already_points_to(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test",),
        )
        async with steady_load(load, connections=2):
            for _ in range(2):
                await load.more_delivered(30)
                await place.command("key", "rotate", DOMAIN, "--emergency", "--yes")
                await place.publish_operator()
                await place.command("domain", "verify", DOMAIN)
            await load.more_delivered(30)
        assert not load.cut_off
        await load.all_delivered()
        verdicts = [record.verdict for record in place.lab.records]
        assert {verdict.dmarc for verdict in verdicts} == {"pass"}
        assert len({verdict.dkim[0].s for verdict in verdicts}) == 3
