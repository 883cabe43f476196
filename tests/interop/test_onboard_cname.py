"""Mode cname from nothing to proven mail, down the ladder as DNS breaks, and up again.

The operator's zone is on BIND by signed updates, the customer's on Knot.
"""

from pathlib import Path

from soboo_mta.cli.trial.zones import without
from tests.interop.internet import internet, operator_file, tsig_settings
from tests.interop.name_servers import bind, knot, zone_file
from tests.interop.onboarding import CUSTOMER, OPERATOR, bounces_at, signs_as

_NET = "127.0.82"
_OWN = ("@ A 192.0.2.80", '_dmarc TXT "v=DMARC1; p=reject"')
_UPDATES = "allow-update { key soboo; };"


async def test_a_customer_in_mode_cname_is_onboarded_and_survives_broken_records(
    tmp_path: Path,
) -> None:
    operator = operator_file(tmp_path, _NET)
    zone = zone_file(tmp_path / "customer", CUSTOMER, f"{_NET}.2")
    zone.write(_OWN)
    publish = tsig_settings(tmp_path, _NET)
    async with (
        bind([operator], f"{_NET}.3", f"{_NET}.4", options=_UPDATES),
        knot([zone], f"{_NET}.2") as theirs,
        internet(tmp_path, net=_NET, publish=publish) as place,
    ):
        await place.delegate(OPERATOR, f"{_NET}.3")
        await place.delegate(CUSTOMER, f"{_NET}.2")
        await place.relay.start_relay()

        await place.relay.command("domain", "add", CUSTOMER, "--tenant", "acme")
        records = await place.records(CUSTOMER)
        await theirs.publish(zone, [*_OWN, *records])
        await place.until_good(CUSTOMER)
        first, plan = await place.proven(CUSTOMER, "all is well")
        assert first.opinion.agrees_on(CUSTOMER)
        assert plan["rung"] == "full"
        assert plan["bounce_domain"] == f"bounce.{CUSTOMER}"
        assert [one["s"] for one in plan["signatures"]] == ["sb1"]

        since = place.told()
        await theirs.publish(zone, [*_OWN, *without(records, "sb1.")])
        await place.until_told("is no longer usable", since=since)
        _, plan = await place.proven(
            CUSTOMER, "the next key stands in", signs_as(CUSTOMER, "sb2")
        )
        assert plan["rung"] == "full"

        since = place.told()
        await theirs.publish(zone, [*_OWN, *without(records, "sb1.", "bounce.")])
        await place.until_told("the bounce host no longer leads to us", since=since)
        _, plan = await place.proven(
            CUSTOMER, "the operator takes bounces", bounces_at(f"bounce.{OPERATOR}")
        )
        assert plan["rung"] == "operator-bounce"

        since = place.told()
        await theirs.publish(zone, _OWN)
        await place.until_told("is no longer usable", since=since)
        waiting = await place.held(CUSTOMER, "nothing is left")
        await theirs.publish(zone, [*_OWN, *records])
        _, plan = await place.agreed(*waiting)
        assert plan["rung"] == "full"
