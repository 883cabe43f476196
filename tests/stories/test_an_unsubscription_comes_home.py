"""Who writes to the unsubscribe address of a message gets no more of its stream."""

import asyncio
import json
import re
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World
from soboo_mta.lab.record import MessageRecord
from tests.chaos.ready_world import DOMAIN, USER
from tests.stories.test_a_bounce_comes_home import (
    all_read,
    bring,
    failed,
    listed,
    receiving,
)
from tests.unit.formats.returned_examples import mail

ANN, BOB = "ann@alpha.test", "bob@alpha.test"
FIELD = re.compile(r"<mailto:(u-[0-9a-v]{40}@\S+)\?subject=unsubscribe>")


async def send(place: World, stream: str, *to: str) -> str:
    """Submit a message of the stream; return its id."""
    message = EmailMessage()
    message["From"], message["Subject"] = f"news@{DOMAIN}", f"Our {stream}"
    message["X-Soboo-Stream"] = stream
    message.set_content("Hello there")
    return (await place.submit(USER, message, to)).split()[-1]


async def states(place: World, message: str) -> dict[str, str]:
    told = json.loads(await place.command("trace", message, "--json"))
    return dict(told["recipients"])


async def all_are(place: World, message: str, **wanted: str) -> None:
    """Wait until the recipients' states, by local part, are these."""

    async def are_so() -> bool:
        found = await states(place, message)
        return {to.partition("@")[0]: is_now for to, is_now in found.items()} == wanted

    await place.until(f"{message} is {wanted}", are_so)


def field_in(record: MessageRecord) -> list[str]:
    assert record.raw is not None
    parsed = message_from_bytes(record.raw.read_bytes())
    return [str(value) for value in parsed.get_all("List-Unsubscribe", [])]


def signed_address(record: MessageRecord) -> str:
    """The address in the field, which a good signature covers once more than it occurs."""
    (value,) = field_in(record)
    assert record.raw is not None
    parsed = message_from_bytes(record.raw.read_bytes())
    (signature,) = parsed.get_all("DKIM-Signature", [])
    covered = re.search(r"h=([^;]+);", signature)
    assert covered is not None
    names = [name.strip() for name in covered[1].split(":")]
    assert names.count("list-unsubscribe") == 2
    assert [one.result for one in record.verdict.dkim] == ["pass"]  # by dkimpy
    found = FIELD.fullmatch(value)
    assert found is not None
    return found[1]


async def test_who_unsubscribes_by_mail_gets_no_more_of_the_stream(
    tmp_path: Path,
) -> None:
    wanted = ("tenant", "set", "acme", "--unsubscribe", "news")
    async with receiving(tmp_path / "world", wanted) as place:
        first = await send(place, "news", ANN, BOB)
        records = await place.lab.wait_for(lambda _: place.lab.received >= 2, 60)
        address = {one.rcpt_to[0]: signed_address(one) for one in records}
        path = {one.rcpt_to[0]: one.mail_from for one in records}
        assert address[ANN].partition("@")[2] == path[ANN].partition("@")[2]
        await all_are(place, first, ann="delivered", bob="delivered")

        wish = mail("", Subject="unsubscribe")
        forged = [  # of another, as another, with another letter
            "b-" + address[ANN][2:],
            "u-" + path[ANN][2:],
            "u-" + address[BOB][2:20] + address[ANN][20:],
            address[ANN].replace(DOMAIN, "other.example"),
        ]
        pairs = [(one, wish) for one in forged]
        assert await asyncio.to_thread(bring, place, pairs, ANN) == 0
        assert await listed(place) == []

        away = mail("Away.", Subject="Away", Auto_Submitted="auto-replied")
        for answer, sender in ((failed(BOB), ""), (away, BOB)):
            answers = [(address[BOB], answer)]
            assert await asyncio.to_thread(bring, place, answers, sender) == 1
        wishes = [(address[ANN].upper(), wish)]
        assert await asyncio.to_thread(bring, place, wishes, "ann@elsewhere.test") == 1
        found = await all_read(place, 3)
        assert sorted(str(one["kind"]) for one in found) == [
            *("auto-reply", "dsn", "unsubscribe")
        ]
        assert await states(place, first) == {ANN: "delivered", BOB: "delivered"}
        of_acme = ("--tenant", "acme")
        (entry,) = json.loads(
            await place.command("suppression", "list", *of_acme, "--json")
        )
        assert (entry["address"], entry["stream"]) == (ANN, "news")
        assert (entry["reason"], entry["evidence"]["message"]) == ("unsubscribe", first)
        trace = json.loads(await place.command("trace", first, "--json"))
        kinds = [one["kind"] for one in trace["events"]]
        assert kinds.count("unsubscribed") == 1

        second = await send(place, "news", ANN, BOB)
        other = await send(place, "receipts", ANN)
        await all_are(place, second, ann="failed", bob="delivered")
        await all_are(place, other, ann="delivered")
        said = await place.command("trace", second)
        assert "suppressed: the recipient unsubscribed from news" in said
        records = await place.lab.wait_for(lambda _: place.lab.received >= 4, 60)
        assert [field_in(one) for one in records if one.rcpt_to == (ANN,)][-1] == []
