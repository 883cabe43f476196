"""Too many recipients call a tenant's mail spam: it waits, until somebody decides."""

import asyncio
import json
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.stories.test_a_bounce_comes_home import bring, delivered
from tests.unit.formats.returned_examples import multipart

READERS = tuple(f"reader{number}@alpha.test" for number in range(10))


def complaint() -> bytes:
    return multipart(
        "report; report-type=feedback-report",
        ("Content-Type: text/plain", "Somebody pressed the button."),
        (
            "Content-Type: message/feedback-report",
            "Feedback-Type: abuse\r\nUser-Agent: Mailbox/1\r\nVersion: 1\r\n",
        ),
        (
            "Content-Type: message/rfc822",
            f"From: news@{DOMAIN}\nSubject: Hello\r\n\r\nHello\r\n",
        ),
    )


async def rates(place: World) -> dict[tuple[str, str], dict[str, object]]:
    found = json.loads(await place.command("complaints", "rates", "--json"))
    return {(one["scope"], one["name"]): one for one in found}


async def test_complaints_are_counted_and_hold_what_comes_later(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    extra = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"
[complaints]
least = 3
hold_percent = 35
slow_percent = 20
slow_to = "1/h"
"""
    async with ready_world(tmp_path / "world", extra=extra) as place:
        place.environment |= {"RETURN_PORT": str(port)}  # type: ignore[operator]
        await place.start_relay()
        paths = await delivered(place, *READERS)

        async def until(level: str, complaints: int) -> None:
            async def so() -> bool:
                found = (await rates(place)).get(("domain", DOMAIN), {})
                seen = (found.get("level"), found.get("complaints"))
                return seen == (level, complaints)

            await place.until(f"{complaints} complaints: {level}", so, seconds=60)

        twice = [(paths[READERS[0]], complaint())] * 2
        some = [(paths[one], complaint()) for one in READERS[1:3]]
        assert await asyncio.to_thread(bring, place, twice + some) == 4
        await until("slow", 3)
        wanted = await sent_until(place, "slowed")

        more = [(paths[one], complaint()) for one in READERS[3:6]]
        assert await asyncio.to_thread(bring, place, more) == 3
        await until("hold", 6)
        wanted |= await sent_until(place, "complaints")
        assert "was complained of: 6 of 1" in await place.command("queue", "list")

        spared = ("--tenant", "acme", "--for", "1h", "--because", "list cleaned")
        await place.command("complaints", "spare", *spared)
        records = await place.lab.wait_for(
            lambda seen: {one.rcpt_to[0] for one in seen} >= wanted, 60
        )
        assert {record.verdict.dmarc for record in records} == {"pass"}
        await until("warn", 6)
        assert json.loads(await place.command("queue", "list", "--json")) == []


async def sent_until(place: World, reason: str) -> set[str]:
    """Send to one recipient after the other until one waits for that reason; return them.
    A worker reads of it within a moment, and who leaves slowly has the first turn at once.
    """
    sent: set[str] = set()

    async def waits() -> bool:
        message = EmailMessage()
        message["From"], message["Subject"] = f"news@{DOMAIN}", "Hello again"
        message.set_content("Hello there")
        to = f"{reason}{len(sent)}@beta.test"
        await place.submit(USER, message, [to])
        sent.add(to)
        found = json.loads(await place.command("queue", "list", "--json"))
        return reason in {one["reason"] for one in found}

    await place.until(f"mail waits as {reason}", waits, seconds=60)
    return sent
