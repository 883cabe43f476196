"""What was delivered comes back: to the recipient it is about, and to no other."""

import asyncio
import json
import random
import signal
import smtplib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.unit.formats.returned_examples import dsn, mail

RECIPIENTS = ("ann@alpha.test", "bob@alpha.test", "cy@beta.test")
LETTERS = "0123456789abcdefghijklmnopqrstuv"


@asynccontextmanager
async def receiving(
    directory: Path, *commands: Sequence[str], workers: int = 0
) -> AsyncIterator[World]:
    """A relay with a return listener; its port is the world's `return_port`. `commands`
    are done before it starts."""
    (port,) = free_ports(1)
    extra = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"
[returns]
feedback = ["fbl@esp.example"]
"""
    async with ready_world(directory, extra=extra, workers=workers) as place:
        place.environment |= {"RETURN_PORT": str(port)}  # type: ignore[operator]
        for words in commands:
            await place.command(*words)
        await place.start_relay()
        yield place


def return_port(place: World) -> int:
    return int(place.environment["RETURN_PORT"])


def failed(address: str) -> bytes:
    return dsn(
        "Reporting-MTA: dns; mx.alpha.test\n\n"
        f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{address}>: no such user here\n"
    )


async def delivered(place: World, *to: str) -> dict[str, str]:
    """Send to each, and return the reverse-path by recipient as it arrived."""
    message = EmailMessage()
    message["From"], message["Subject"] = f"news@{DOMAIN}", "Hello"
    message.set_content("Hello there")
    before = place.lab.received
    await place.submit(USER, message, to)
    records = await place.lab.wait_for(
        lambda seen: place.lab.received >= before + len(to), 60
    )
    return {one.rcpt_to[0]: one.mail_from for one in records}


def bring(place: World, returns: Sequence[tuple[str, bytes]], sender: str = "") -> int:
    """Bring each as a receiving host does; return how many were taken."""
    taken = 0
    with smtplib.SMTP("127.0.0.1", return_port(place), "mx.alpha.test") as client:
        client.ehlo()
        for address, octets in returns:
            client.mail(sender)
            if client.rcpt(address)[0] != 250:
                client.rset()
                continue
            taken += client.data(octets)[0] == 250
    return taken


async def listed(place: World, *words: str) -> list[dict[str, object]]:
    found = json.loads(await place.command("returns", "list", "--json", *words))
    return list(found)


async def all_read(place: World, number: int) -> list[dict[str, object]]:
    """Wait until so many returns were read; return them."""

    async def is_so() -> bool:
        found = await listed(place, "--limit", "10000")
        return len(found) == number and all(one["kind"] for one in found)

    await place.until(f"{number} returns are read", is_so, seconds=120)
    return await listed(place, "--limit", "10000")


async def test_case_097_a_bounce_lands_on_its_recipient(tmp_path: Path) -> None:
    async with receiving(tmp_path / "world") as place:
        paths = await delivered(place, *RECIPIENTS)
        bob = paths["bob@alpha.test"]
        returns = [(bob, failed("bob@alpha.test"))]
        assert await asyncio.to_thread(bring, place, returns) == 1
        (found,) = await all_read(place, 1)

        assert (found["kind"], found["bounce_class"]) == ("dsn", "invalid-mailbox")
        trace = json.loads(
            await place.command("trace", str(found["message_id"]), "--json")
        )
        assert dict(trace["recipients"]) == {
            "ann@alpha.test": "delivered",
            "bob@alpha.test": "returned",
            "cy@beta.test": "delivered",
        }
        (event,) = [one for one in trace["events"] if one["kind"] == "returned"]
        assert event["detail"]["recipient"] == "bob@alpha.test"
        list_of = ("suppression", "list", "--tenant", "acme", "--json")
        suppressed = json.loads(await place.command(*list_of))
        assert [one["address"] for one in suppressed] == ["bob@alpha.test"]
        shown = await place.command("returns", "show", str(found["returned_id"]))
        assert "no such user here" in shown
        assert "invalid-mailbox" in await place.command("returns", "counts")


async def test_case_096_an_answer_comes_home_and_suppresses_nobody(
    tmp_path: Path,
) -> None:
    async with receiving(tmp_path / "world") as place:
        paths = await delivered(place, "ann@alpha.test")
        away = mail("I am away.", Auto_Submitted="auto-replied", Subject="Away")
        returns = [(paths["ann@alpha.test"], away)]
        assert await asyncio.to_thread(bring, place, returns, "ann@alpha.test") == 1
        (found,) = await all_read(place, 1)
        assert found["kind"] == "auto-reply"
        trace = json.loads(
            await place.command("trace", str(found["message_id"]), "--json")
        )
        assert dict(trace["recipients"]) == {"ann@alpha.test": "delivered"}


async def test_case_094_forged_addresses_change_nothing(tmp_path: Path) -> None:
    async with receiving(tmp_path / "world") as place:
        paths = await delivered(place, *RECIPIENTS)
        chance = random.Random(7)
        forged = []
        for _ in range(300):
            local, _, domain = chance.choice(list(paths.values())).partition("@")
            place_of = chance.randrange(2, len(local))
            other = chance.choice(LETTERS.replace(local[place_of], ""))
            address = f"{local[:place_of]}{other}{local[place_of + 1 :]}@{domain}"
            forged.append((address, failed("ann@alpha.test")))
        taken = 0
        for start in range(0, 300, 15):
            some = forged[start : start + 15]
            taken += await asyncio.to_thread(bring, place, some)
        assert taken == 0
        assert await listed(place) == []
        (message,) = json.loads(await place.command("queue", "list", "--json")) or [
            None
        ]
        assert message is None


async def test_what_was_taken_survives_a_kill_and_is_read_once(tmp_path: Path) -> None:
    async with receiving(tmp_path / "world", workers=1) as place:
        paths = await delivered(place, *RECIPIENTS)
        returns = [(paths[to], failed(to)) for to in RECIPIENTS for _ in range(20)]
        assert await asyncio.to_thread(bring, place, returns) == 60
        await place.stop_relay(signal.SIGKILL)
        await place.start_relay()
        found = await all_read(place, 60)

        assert {one["kind"] for one in found} == {"dsn"}
        message = str(found[0]["message_id"])
        trace = json.loads(await place.command("trace", message, "--json"))
        assert set(dict(trace["recipients"]).values()) == {"returned"}
        assert len([one for one in trace["events"] if one["kind"] == "returned"]) == 60
