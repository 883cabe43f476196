"""`soboo-mta onboard`: from a name to a first proven message, mistakes on the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World, free_ports, world
from soboo_mta.cli.trial.zones import without

DOMAIN = "newcomer.example"
TENANT = '[[tenant]]\nid = "acme"\nname = "Acme Ltd"\n'
# The customer has a bounce host and a selector of another provider.
OTHERS = [
    "bounce CNAME u1.wl.sendgrid.net.",
    'sb1._domainkey TXT "v=DKIM1; p=abc"',
    '_dmarc TXT "v=DMARC1; p=reject; adkim=s"',
]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    (port,) = free_ports(1)
    async with world(tmp_path / "world", port=port, sinks=("127.0.0.2",)) as made:
        made.zones.write_destination("alpha.test", "127.0.0.2")
        made.zones.write("sendgrid.net", ["u1.wl A 127.0.0.8"])
        made.zones.write(DOMAIN, ["@ A 127.0.0.9", *OTHERS])
        await made.command("secret", "generate")
        await made.apply(TENANT)
        await made.publish_operator()
        yield made


async def _records(place: World) -> list[str]:
    async def is_added() -> bool:
        listed = json.loads(await place.command("domain", "list", "--json"))
        return any(one["name"] == DOMAIN for one in listed)

    await place.until("the domain is added", is_added)
    return without(await place.records(DOMAIN), "_dmarc.")


async def test_a_domain_is_watched_until_it_is_good_and_then_proven(
    place: World,
) -> None:
    await place.start_relay()
    words = ("onboard", DOMAIN, "--tenant", "acme", "--yes", "--wait", "2")
    onboarding = asyncio.create_task(place.command(*words, "--to", "ann@alpha.test"))
    records = await _records(place)
    assert f"bounces.{DOMAIN}." in " ".join(records)
    assert not any(line.startswith("sb1.") for line in records)
    await place.publish_operator()
    doubled = [line.replace(DOMAIN, f"{DOMAIN}.{DOMAIN}", 1) for line in records]
    place.zones.write(DOMAIN, ["@ A 127.0.0.9", *OTHERS, *doubled])

    async def is_doubled() -> bool:
        listed = json.loads(await place.command("domain", "list", "--json"))
        (one,) = (each for each in listed if each["name"] == DOMAIN)
        return any("appended twice" in check["cause"] for check in one["records"])

    await place.until("the mistake is seen", is_doubled)
    place.zones.write(DOMAIN, ["@ A 127.0.0.9", *OTHERS, *records])
    told = await onboarding
    assert f"bounce.{DOMAIN} is not free (CNAME u1.wl.sendgrid.net.)" in told
    assert told.splitlines()[-1].startswith(f"{DOMAIN} is proven")
    (record,) = place.lab.records
    assert record.verdict.dmarc == "pass"
    assert record.mail_from.endswith(f"@bounces.{DOMAIN}")
    assert record.verdict.dkim[0].d == DOMAIN


async def test_left_and_given_again_it_goes_on(place: World) -> None:
    words = ("onboard", DOMAIN, "--tenant", "acme", "--yes", "--wait", "0")
    first = await place.command(*words, codes=(1,))
    assert "0 of 4 required records are good" in first
    records = await _records(place)
    await place.publish_operator()
    place.zones.write(DOMAIN, ["@ A 127.0.0.9", *OTHERS, *records])
    again = await place.command(*words)
    assert "going on from there" in again
    assert f"{DOMAIN} is ready" in again
    waits = await place.command(*words, "--to", "ann@alpha.test", codes=(1,))
    assert "the first message is accepted as" in waits
    await place.start_relay()
    await place.lab.wait_for(lambda all_: len(all_) == 1, 60)
