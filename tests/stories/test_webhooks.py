"""A receiver that fails now and then, and a relay that is killed: every event arrives, in
the order of its message, signed, under one id."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from soboo_mta.cli.trial.world import World
from soboo_mta.events.outbox.cursors import NOWHERE, newest
from soboo_mta.events.outbox.form import ToldEvent
from soboo_mta.events.outbox.source import read_events
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import read_now
from tests.chaos.ready_world import DOMAIN, USER, ready_world, store_url
from tests.fakes.receiver import HANG, OK, Got, Receiver, answer, verified
from tests.stories.load import Load, steady_load

_HOST = "in.hooks.test"
_SETTINGS = """
[webhooks]
ports = [{port}]
private_destinations = true
timeout = "1s"

[events]
file = "{file}"
"""


async def test_nothing_is_lost_and_order_is_kept_though_both_sides_fail(
    tmp_path: Path,
) -> None:
    receiver, random = Receiver(), Random(7)
    ca = tmp_path / "ca.pem"
    receiver.authority.cert_pem.write_to_path(str(ca))
    lines = tmp_path / "events.jsonl"
    async with receiver.open(_HOST):
        receiver.behave = _mostly_well(random)
        extra = _SETTINGS.format(port=receiver.port, file=lines)
        trust = {"SSL_CERT_FILE": str(ca)}
        async with ready_world(
            tmp_path / "world", extra=extra, environment=trust
        ) as place:
            place.zones.write("hooks.test", [f"{_HOST}. 60 IN A 127.0.0.1"])
            url = f"https://{_HOST}:{receiver.port}/"
            await place.start_relay()
            words = ("webhook", "add", "--tenant", "acme", "--url", url)
            secret = (await place.command(*words)).split()[-1]
            for _ in range(3):
                await _some_mail(place)
                await place.stop_relay(signal.SIGKILL)
                await place.start_relay()
            told = await _all_told(place, receiver)
        assert all(verified(one, secret) for one in receiver.got)
    _are_in_order(told, receiver)
    in_file = lines.read_text().splitlines()
    for one in told.values():
        assert any(one.event_id in line for line in in_file)


def _mostly_well(random: Random) -> Callable[[Got], bytes | None]:
    """One answer in ten is an error, a close or none at all."""

    def behave(_: Got) -> bytes | None:
        if random.random() < 0.9:
            return OK
        return random.choice((answer(500), answer(302, location="/x"), None, HANG))

    return behave


async def _some_mail(place: World) -> None:
    load = Load(
        place=place,
        user=USER,
        author=f"app@{DOMAIN}",
        recipients=("ann@alpha.test", "bea@beta.test", "cy@gamma.test"),
        rate=40,
    )
    async with steady_load(load, connections=3):
        await load.more_delivered(40)


async def _all_told(place: World, receiver: Receiver) -> dict[str, ToldEvent]:
    """All that happened, by id, once the receiver has accepted it all."""
    engine = open_engine(store_url(place))

    def happened() -> dict[str, ToldEvent]:
        read = read_now(
            engine, lambda at: read_events(at, NOWHERE, newest(at), most=100_000)
        )
        return {one.event_id: one for one in read.events if one.type in _OF_ATTEMPTS}

    async def is_all_told() -> bool:
        accepted = {one.event["id"] for one in receiver.accepted}
        found = await asyncio.to_thread(happened)
        return bool(found) and found.keys() <= accepted

    try:
        await place.until("nothing waits", _nothing_waits(place))
        await place.until("every event was accepted", is_all_told)
        return happened()
    finally:
        engine.dispose()


_OF_ATTEMPTS = ("delivered", "deferred")


def _nothing_waits(place: World) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return "[]" in await place.command("queue", "list", "--json")

    return so


def _are_in_order(told: dict[str, ToldEvent], receiver: Receiver) -> None:
    """First acceptances of a message's events come in the order of what happened, and no
    later event was even offered before."""
    order: defaultdict[str, list[str]] = defaultdict(list)
    for one in told.values():
        order[str(one.message)].append(one.event_id)
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for got in receiver.got:
        event = got.event
        ids = seen[str(event["message"])]
        if event["id"] in told and event["id"] not in ids:
            ids.append(event["id"])
    assert {key: seen[key] for key in order} == order
    assert any(len(ids) > 1 for ids in order.values())  # gamma.test greylists
