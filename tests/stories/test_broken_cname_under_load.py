"""A customer loses a CNAME while mail flows: it goes on aligned, down the ladder and up."""

from collections.abc import Callable
from pathlib import Path

from soboo_mta.cli.trial.settings import OPERATOR
from soboo_mta.cli.trial.world import World
from soboo_mta.cli.trial.zones import without
from soboo_mta.lab.record import MessageRecord
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.stories.load import Load, steady_load

_SECONDS = 60.0


async def _last(place: World, holds: Callable[[MessageRecord], bool]) -> None:
    """Wait until the newest message at the sinks answers the question."""
    await place.lab.wait_for(lambda all_: bool(all_) and holds(all_[-1]), _SECONDS)


def _selector(record: MessageRecord) -> str:
    return record.verdict.dkim[0].s


def _bounce(record: MessageRecord) -> str:
    return record.mail_from.rpartition("@")[2]


async def test_case_069_every_message_is_aligned_while_one_cname_after_the_other_breaks(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        records = await place.records(DOMAIN)
        await place.start_relay()
        load = Load(
            place=place,
            user=USER,
            author=f"app@{DOMAIN}",
            recipients=("ann@alpha.test", "bea@beta.test"),
        )
        async with steady_load(load):
            await _last(place, lambda r: _selector(r) == "sb1")
            place.zones.write_customer(DOMAIN, without(records, "sb1."))
            await _last(place, lambda r: _selector(r) == "sb2")
            place.zones.write_customer(DOMAIN, records)
            await _last(place, lambda r: _selector(r) == "sb1")

            assert _bounce(place.lab.records[-1]) == f"bounce.{DOMAIN}"
            place.zones.write_customer(DOMAIN, without(records, "bounce."))
            await _last(place, lambda r: _bounce(r) == f"bounce.{OPERATOR}")
            place.zones.write_customer(DOMAIN, records)
            await _last(place, lambda r: _bounce(r) == f"bounce.{DOMAIN}")
        assert not load.cut_off
        await load.all_delivered(_SECONDS)
        verdicts = {record.verdict.dmarc for record in place.lab.records}
        assert verdicts == {"pass"}
        assert load.delivered() == set(load.accepted)
        assert len(place.lab.records) == len(load.accepted)
