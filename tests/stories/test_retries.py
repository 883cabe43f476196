"""Mail that cannot leave at once leaves later: greylisted, and to a site that was down."""

from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World
from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.sinks.options import SinkOptions
from tests.chaos.ready_world import DOMAIN, USER, ready_world

_DOWN = "127.0.0.6"
_SOON = {
    "SOBOO_RETRY__STEPS": '["1s"]',
    "SOBOO_RETRY__GREYLISTED": "1s",
    "SOBOO_DELIVERY__SITE_REST": "1s",
    "SOBOO_DELIVERY__HOST_REST": "1s",
}


async def test_case_163_greylisted_mail_and_mail_for_a_site_that_was_down_arrive_once(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world", environment=_SOON) as place:
        place.zones.write_destination("down.test", _DOWN)
        await place.start_relay()
        waiting = await _submit(place, "dan@down.test")
        await _submit(place, "cas@gamma.test")

        (record,) = await place.lab.wait_for(1, 60)
        assert record.rcpt_to == ("cas@gamma.test",)
        assert record.verdict.dmarc == "pass"
        assert any(one.reply.startswith("451") for one in place.lab.refusals)

        async def was_tried() -> bool:
            return "deferred" in await place.command("queue", "why", waiting)

        await place.until("the site that is down was tried", was_tried)
        options = LabOptions(
            zones=place.lab.zones_directory,
            sinks=SinkOptions(addresses=(_DOWN,), port=place.lab.sink_port),
        )
        async with Lab(tmp_path / "up", options) as up:
            (late,) = await up.wait_for(1, 60)
            assert late.rcpt_to == ("dan@down.test",)
            assert late.verdict.dmarc == "pass"

            async def is_settled() -> bool:
                return "nothing waits" in await place.command("queue", "list")

            await place.until("nothing waits any more", is_settled)
            assert (place.lab.received, up.received) == (1, 1)


async def _submit(place: World, recipient: str) -> str:
    """Submit; return the id in the answer."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"a@{DOMAIN}", recipient, "1"
    message.set_content("Hello.\n")
    answer = await place.submit(USER, message, [recipient])
    assert answer.startswith("250"), answer
    return answer.split()[-1]
