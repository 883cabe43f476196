"""Whether DMARC reports on a domain come to us, as its owner's DNS and ours say; no mail
waits for it."""

import json
from pathlib import Path

from soboo_mta.cli.trial.settings import OPERATOR
from soboo_mta.cli.trial.world import World
from soboo_mta.cli.trial.zones import without
from tests.chaos.ready_world import DOMAIN, ready_world

_RUA = "mailto:dmarc@esp.example"


async def verified(place: World) -> tuple[str, str]:
    """Look at the domain: how can_report stands, and what is wrong."""
    told = json.loads(await place.command("domain", "verify", DOMAIN, "--json"))
    assert told["state"] == "verified"  # whatever becomes of reports
    (report,) = [
        one for one in told["standings"] if one.get("capability") == "can_report"
    ]
    assert not report["required"]
    return report["state"], told["reports"]["fault"]


async def test_reports_are_good_once_the_customer_names_us_and_our_zone_agrees(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        text = place.config.read_text()
        address = 'dmarc_reports = "dmarc@esp.example"\nmx_hosts'
        place.config.write_text(text.replace("mx_hosts", address, 1))
        asked = without(await place.records(DOMAIN), "_dmarc.")

        def publish(policy: str) -> None:
            lines = ["@ A 127.0.0.9", f'_dmarc TXT "{policy}"', *asked]
            place.zones.write(DOMAIN, lines)

        async def is_so(state: str, fault: str) -> None:
            async def is_it() -> bool:  # once the lab's resolver has forgotten
                return await verified(place) == (state, fault)

            await place.until(f"can_report is {state}, {fault or 'good'}", is_it)

        publish("v=DMARC1; p=reject")
        await is_so("pending", "dmarc-without-us")
        shown = await place.command(
            *("domain", "records", DOMAIN, "--dmarc-reports", "--format", "json")
        )
        (wanted,) = [one for one in json.loads(shown) if one["purpose"] == "dmarc"]
        assert wanted["value"] == f"v=DMARC1; p=reject; rua={_RUA}"
        publish(wanted["value"])
        await is_so("pending", "operator-reports")

        ours = await place.command("zone", "show", OPERATOR)
        assert f"{DOMAIN}._report._dmarc.{OPERATOR}." in ours
        place.zones.write(OPERATOR, ours.splitlines())
        await is_so("verified", "")

        publish("v=DMARC1; p=reject")
        await is_so("at-risk", "dmarc-without-us")
        history = await place.command("domain", "history", DOMAIN)
        assert "can_report: pending → verified" in history
        assert "can_report: verified → at-risk" in history
