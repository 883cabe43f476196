"""A tenant's suppression list: nothing goes there, what waits included (case 164)."""

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import USER, ready_world
from tests.chaos.sender import written

_RULES = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "451 4.3.2 Closed for the night"
"""


async def _submit(place: World, name: str, *to: str) -> str:
    mail = written(name, to, b"x" * 50)
    parsed = message_from_bytes(mail.octets, EmailMessage, policy=policy.default)
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

        await place.until("all but one are settled", are_settled, 20)
        assert "550 5.7.1 the recipient is suppressed: by hand" in (
            await place.command("trace", alone)
        )
        assert "suppressed" in await place.command("queue", "why", alone)
        refused = len(place.lab.refusals)
        words = ("ann@alpha.test", *tenant, "--because", "wrote to us")
        await place.command("suppression", "add", *words)

        async def is_failed() -> bool:
            return await _states(place, queued) == {"ann@alpha.test": "failed"}

        await place.until("what was queued fails too", is_failed, 20)
        assert "wrote to us" in await place.command("trace", queued)
        assert len(place.lab.refusals) <= refused + 1  # one may have been under way
        assert place.lab.received == 1
