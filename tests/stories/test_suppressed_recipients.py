"""A tenant's suppression list: nothing goes there, what waits included (case 164); and
what the next hop says of a recipient brings it there."""

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from smtplib import SMTPDataError

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import USER, ready_world
from tests.chaos.sender import written

_RULES = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "451 4.3.2 Closed for the night"
"""

_FAILING = """\
[[rule]]
recipient = "gone@beta.test"
action = "reply"
reply = "550 5.1.1 No such user here"

[[rule]]
recipient = "full@beta.test"
times = 2
action = "reply"
reply = "550 5.2.2 The mailbox is full"

[[rule]]
recipient = "spam@beta.test"
action = "reply"
reply = "550 5.7.26 This mail is unauthenticated: SPF and DKIM did not pass"
"""
_TWICE = """\

[suppression]
soft_limit = 2
"""


async def _submit(place: World, name: str, *to: str, stream: str = "") -> str:
    mail = written(name, to, b"x" * 50)
    parsed = message_from_bytes(mail.octets, EmailMessage, policy=policy.default)
    if stream:
        parsed["X-Soboo-Stream"] = stream
    return (await place.submit(USER, parsed, list(to))).split()[-1]


async def _states(place: World, message: str) -> dict[str, str]:
    told = json.loads(await place.command("trace", message, "--json"))
    return dict(told["recipients"])


async def test_case_164_suppressed_at_submission_and_while_queued(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        (place.directory / "sinks.toml").write_text(_RULES)
        tenant = ("--tenant", "acme")
        await place.command("suppression", "add", "gone@beta.test", *tenant)
        await place.start_relay()
        alone = await _submit(place, "alone", "GONE@beta.test")
        mixed = await _submit(place, "mixed", "gone@beta.test", "ann@beta.test")
        queued = await _submit(place, "queued", "ann@alpha.test")

        async def are_settled() -> bool:
            return (
                await _states(place, alone) == {"GONE@beta.test": "failed"}
                and await _states(place, mixed)
                == {"gone@beta.test": "failed", "ann@beta.test": "delivered"}
                and await _states(place, queued) == {"ann@alpha.test": "deferred"}
            )

        await place.until("all but one are settled", are_settled)
        assert "550 5.7.1 the recipient is suppressed: by hand" in (
            await place.command("trace", alone)
        )
        assert "suppressed" in await place.command("queue", "why", alone)
        refused = len(place.lab.refusals)
        words = ("ann@alpha.test", *tenant, "--because", "wrote to us")
        await place.command("suppression", "add", *words)

        async def is_failed() -> bool:
            return await _states(place, queued) == {"ann@alpha.test": "failed"}

        await place.until("what was queued fails too", is_failed)
        assert "wrote to us" in await place.command("trace", queued)
        assert len(place.lab.refusals) <= refused + 1  # one may have been under way
        assert place.lab.received == 1


async def test_who_is_not_there_is_not_tried_again(tmp_path: Path) -> None:
    async with ready_world(tmp_path / "world", extra=_TWICE) as place:
        (place.directory / "sinks.toml").write_text(_FAILING)
        await place.start_relay()
        people = [f"{name}@beta.test" for name in ("gone", "full", "spam")]

        async def all_fail(name: str) -> dict[str, str]:
            """Send to each, one message after another; return what was said of it."""
            said = {}
            for who in people:
                message = await _submit(place, name, who)

                async def is_failed(of: str = message, to: str = who) -> bool:
                    return await _states(place, of) == {to: "failed"}

                await place.until(f"{name} to {who} fails", is_failed)
                said[who] = await place.command("trace", message)
            return said

        first = await all_fail("first")
        assert "550 5.1.1 No such user here" in first["gone@beta.test"]
        assert len(place.lab.refusals) == 3
        second = await all_fail("second")
        assert (
            "the recipient is suppressed: There is no such mailbox."
            in (second["gone@beta.test"])
        )
        assert "550 5.2.2 The mailbox is full" in second["full@beta.test"]
        assert len(place.lab.refusals) == 5  # gone@ was not tried
        third = await all_fail("third")
        assert "is suppressed: 2 soft failures within 14d" in third["full@beta.test"]
        assert "550 5.7.26" in third["spam@beta.test"]  # not the recipient's fault
        assert len(place.lab.refusals) == 6

        tenant = ("--tenant", "acme")
        shown = await place.command("suppression", "show", "gone@beta.test", *tenant)
        assert "all streams: invalid, for ever" in shown
        assert "class invalid-mailbox, 550 5.1.1 No such user here" in shown
        because = ("--because", "there is room again")
        await place.command(
            "suppression", "remove", "full@beta.test", *tenant, *because
        )

        async def is_taken() -> bool:  # once the worker has heard of it
            last = await _submit(place, "last", "full@beta.test")
            while True:
                state = (await _states(place, last))["full@beta.test"]
                if state in ("delivered", "failed"):
                    return state == "delivered"

        await place.until("what was taken out is delivered", is_taken)


async def test_who_unsubscribed_from_a_stream_gets_the_others(tmp_path: Path) -> None:
    async with ready_world(tmp_path / "world") as place:
        listed = place.directory / "list.csv"
        listed.write_text("ann@beta.test,unsubscribe,news\nbob@beta.test,manual\n")
        tenant = ("--tenant", "acme")
        await place.command("suppression", "import", str(listed), *tenant)
        await place.start_relay()
        sent = {
            stream: await _submit(place, stream, "ann@beta.test", stream=stream)
            for stream in ("news", "receipts")
        }

        async def are_settled() -> bool:
            states = {stream: await _states(place, sent[stream]) for stream in sent}
            return states == {
                "news": {"ann@beta.test": "failed"},
                "receipts": {"ann@beta.test": "delivered"},
            }

        await place.until("one fails, one arrives", are_settled)
        assert place.lab.received == 1

        await place.command("tenant", "set", "acme", "--suppression", "rcpt")

        async def is_refused() -> bool:
            try:
                await _submit(place, "refused", "bob@beta.test")
            except SMTPDataError:
                return True
            return False

        await place.until("RCPT refuses", is_refused)
