"""Mode manual from nothing to proven mail: a wrong paste, what is said of it, a right one.

The operator's zone is on Knot by zone files, the customer's on BIND.
"""

import json
from pathlib import Path
from typing import Any

from tests.interop.internet import internet, operator_file
from tests.interop.name_servers import bind, knot, zone_file
from tests.interop.onboarding import CUSTOMER, OPERATOR, Internet, bounces_at

_NET = "127.0.83"
_OWN = ("@ A 192.0.2.80", '_dmarc TXT "v=DMARC1; p=quarantine"')


async def test_a_customer_in_mode_manual_pastes_wrong_and_then_right(
    tmp_path: Path,
) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    included = ours / f"{OPERATOR}.records"
    included.touch()
    operator = operator_file(tmp_path, _NET)
    zone = zone_file(tmp_path / "customer", CUSTOMER, f"{_NET}.2")
    zone.write(_OWN)
    home = operator.home
    operator.path.write_text(f"{operator.path.read_text()}$INCLUDE {included}\n")
    publish = (
        f'directory = "{ours}"\n'
        f'reload = ["knotc", "-s", "{home}/knot.sock", "zone-reload", "{OPERATOR}"]\n'
    )
    async with (
        knot([operator], f"{_NET}.3", f"{_NET}.4"),
        bind([zone], f"{_NET}.2") as theirs,
        internet(tmp_path, net=_NET, publish=publish) as place,
    ):
        await place.delegate(OPERATOR, f"{_NET}.3")
        await place.delegate(CUSTOMER, f"{_NET}.2")
        await place.relay.start_relay()

        words = ("domain", "add", CUSTOMER, "--tenant", "acme", "--mode", "manual")
        await place.relay.command(*words)
        records = await place.records(CUSTOMER)
        key = next(one for one in records if "_domainkey" in one)
        await theirs.publish(zone, [*_OWN, *_cut(records)])
        found = await _verify(place, codes=(1,))
        assert "the key was cut after 237 of" in found["selector"]["cause"]
        assert "enter the quoted pieces" in found["selector"]["mend"]

        await theirs.publish(zone, [*_OWN, *records])
        await place.until_good(CUSTOMER)
        first, plan = await place.proven(CUSTOMER, "signed by a pasted key")
        assert first.signers == {CUSTOMER}
        assert plan["rung"] == "operator-bounce"
        assert plan["bounce_domain"] == f"bounce.{OPERATOR}"

        since = place.told()
        await theirs.publish(zone, [*_OWN, *(one for one in records if one != key)])
        await place.until_told("is no longer usable", since=since)
        second, plan = await place.proven(
            CUSTOMER, "SPF alone carries it", bounces_at(CUSTOMER)
        )
        assert plan["rung"] == "spf-only"
        assert second.signers == set()


def _cut(records: list[str]) -> list[str]:
    """A form that takes one string of 255 octets loses the rest of the key."""
    return [
        f'{one.partition(chr(34) + " " + chr(34))[0]}"' if '" "' in one else one
        for one in records
    ]


async def _verify(place: Internet, *, codes: tuple[int, ...]) -> dict[str, Any]:
    """What `domain verify` says, by what each record is for."""
    told = await place.relay.command(
        "domain", "verify", CUSTOMER, "--json", codes=codes
    )
    return {one["purpose"]: one for one in json.loads(told)}
