"""What comes back reaches who sent the message: aligned, answerable, once, and through a
kill; a storm of answers ends."""

import asyncio
import email
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from pathlib import Path

from soboo_mta.cli.trial.world import World, free_ports
from soboo_mta.lab.record import MessageRecord
from tests.chaos.ready_world import DOMAIN, ready_world
from tests.stories.test_a_bounce_comes_home import all_read, bring, failed
from tests.stories.test_delivery_reports import SENDER, submit
from tests.unit.formats.returned_examples import mail

ANN = "ann@alpha.test"
DESK = "desk@beta.test"
ANSWER = mail(
    "Yes, gladly.",
    From=f'"Ann Other" <{ANN}>',
    Subject="Re: Hello",
    In_Reply_To="<1@acme.example>",
    Message_ID="<2@alpha.test>",
)
AWAY = mail("I am away.", From=ANN, Auto_Submitted="auto-replied", Subject="Away")


@asynccontextmanager
async def returning_world(directory: Path, *, workers: int = 0) -> AsyncIterator[World]:
    """The customer reads its mail at alpha.test's host; returns are listened for."""
    (port,) = free_ports(1)
    extra = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"
[returns]
desk = "{DESK}"
"""
    async with ready_world(directory, extra=extra, workers=workers) as place:
        place.environment |= {"RETURN_PORT": str(port)}  # type: ignore[operator]
        await place.command("key", "operator")
        await place.publish_operator()
        records = await place.records(DOMAIN)
        place.zones.write_customer(DOMAIN, [*records, "@ MX 10 mx.alpha.test."])
        await place.start_relay()
        yield place


async def reverse_path(place: World) -> str:
    """Send to Ann; return the reverse-path as it arrived."""
    await submit(place, [ANN])

    def has_come(records: tuple[MessageRecord, ...]) -> bool:
        return any(one.rcpt_to == (ANN,) for one in records)

    records = await place.lab.wait_for(has_come, 60)
    return next(one.mail_from for one in records if one.rcpt_to == (ANN,))


async def at_home(place: World, number: int) -> list[tuple[MessageRecord, Message]]:
    """Wait for what the customer gets; return each as recorded, and parsed."""

    def have_come(records: tuple[MessageRecord, ...]) -> bool:
        return sum(one.rcpt_to == (SENDER,) for one in records) >= number

    records = await place.lab.wait_for(have_come, 60)
    found = [one for one in records if one.rcpt_to == (SENDER,)]
    assert all(one.raw is not None for one in found)
    return [
        (one, email.message_from_bytes(one.raw.read_bytes()))  # type: ignore[union-attr]
        for one in found
    ]


def is_aligned(record: MessageRecord) -> bool:
    verdict = record.verdict
    return (
        verdict.author_domain == "esp.example"
        and (verdict.dmarc, verdict.aligned) == ("pass", True)
        and [(one.d, one.result) for one in verdict.dkim] == [("esp.example", "pass")]
    )


async def test_a_bounce_and_an_answer_reach_the_sender_aligned(tmp_path: Path) -> None:
    async with returning_world(tmp_path / "world") as place:
        path = await reverse_path(place)
        await asyncio.to_thread(bring, place, [(path, ANSWER)], ANN)
        ((answered, answer),) = await at_home(place, 1)
        assert is_aligned(answered)
        assert answer["Reply-To"] == f"<{ANN}>"
        assert "Ann Other (via esp.example)" in answer["From"]
        assert answer.get_payload() == "Yes, gladly.\r\n"
        # Its own reverse-path is the operator's, and what comes back for it ends there.
        assert answered.mail_from.endswith("@bounce.esp.example")
        again = [(answered.mail_from, AWAY), (answered.mail_from, failed(SENDER))]
        assert await asyncio.to_thread(bring, place, again) == 2

        await asyncio.to_thread(bring, place, [(path, failed(ANN))])
        (_, (bounced, report)) = await at_home(place, 2)
        assert is_aligned(bounced)
        assert bounced.mail_from == ""
        assert report.get_content_type() == "multipart/report"
        _, about = report.get_payload(1).get_payload()  # type: ignore[union-attr]
        assert about["Final-Recipient"] == f"rfc822; {ANN}"

        found = await all_read(place, 4)
        message = str(found[0]["message_id"])
        trace = json.loads(await place.command("trace", message, "--json"))
        kinds = [one["kind"] for one in trace["events"]]
        assert kinds.count("return-forwarded") == 2
        assert place.lab.received == 3  # the message, and two that went home
        shown = await place.command("returns", "show", str(found[0]["returned_id"]))
        assert f"went home: to {SENDER} as " in shown
        listed = await place.command("suppression", "list", "--tenant", "acme")
        assert SENDER not in listed


async def test_mail_for_abuse_reaches_the_operators_desk(tmp_path: Path) -> None:
    async with returning_world(tmp_path / "world") as place:
        asks = mail("You spam me.", From=f"Ann <{ANN}>", Subject="Stop it")
        came = [("abuse@esp.example", asks)]
        assert await asyncio.to_thread(bring, place, came, ANN) == 1
        (record,) = await place.lab.wait_for(lambda seen: len(seen) == 1, 60)
        assert record.rcpt_to == (DESK,)
        assert is_aligned(record)
        assert record.raw is not None
        told = email.message_from_bytes(record.raw.read_bytes())
        assert (told["Subject"], told["Reply-To"]) == ("Stop it", f"<{ANN}>")


async def test_a_storm_of_answers_ends_and_a_kill_loses_none(tmp_path: Path) -> None:
    async with returning_world(tmp_path / "world", workers=1) as place:
        path = await reverse_path(place)
        storm = [(path, AWAY)] * 100
        assert await asyncio.to_thread(bring, place, storm) == 100
        await place.stop_relay(signal.SIGKILL)
        await place.start_relay()
        await all_read(place, 100)
        home = await at_home(place, 10)
        assert all(is_aligned(record) for record, _ in home)
        ids = {answer["Message-ID"] for _, answer in home}
        assert len(ids) == 10

        await asyncio.sleep(3)  # nothing follows
        home = await at_home(place, 10)
        assert {answer["Message-ID"] for _, answer in home} == ids
        trace = json.loads(
            await place.command(
                "trace", str((await all_read(place, 100))[0]["message_id"]), "--json"
            )
        )
        kinds = [one["kind"] for one in trace["events"]]
        assert kinds.count("return-forwarded") == 10
        assert kinds.count("forward-withheld") == 1
        assert kinds.count("auto-replied") == 100
