"""An operator at the queue: what waits and why, hold, release, cancel, trace; and expiry."""

import json
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.chaos.sender import written

_RULES = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "451 4.3.2 Closed for the night"
"""


async def _submit(place: World, name: str, to: str) -> str:
    """Submit; return the id in the answer."""
    mail = written(name, (to,), b"x" * 50)
    parsed = message_from_bytes(mail.octets, EmailMessage, policy=policy.default)
    answer = await place.submit(USER, parsed, [to])
    return answer.split()[-1]


async def test_case_140_what_waits_can_be_seen_held_released_cancelled_and_traced(
    tmp_path: Path,
) -> None:
    extra = '\n[log]\nlevel = "info"\n'
    async with ready_world(tmp_path / "world", extra=extra) as place:
        (place.directory / "sinks.toml").write_text(_RULES)
        await place.start_relay()
        first = await _submit(place, "first", "ann@alpha.test")
        second = await _submit(place, "second", "ann@alpha.test")
        await place.lab.wait_for(lambda _: len(place.lab.refusals) >= 2, 60)

        async def is_deferred() -> bool:
            return "deferred" in await place.command("queue", "why", second)

        await place.until("both are deferred", is_deferred)
        why = await place.command("queue", "why", first)
        assert "Closed for the night" in why
        assert "reply" in why
        await place.command("queue", "hold", first, "--because", "looking into it")
        await place.command("queue", "cancel", second)
        (place.directory / "sinks.toml").write_text("")
        held = await place.command("queue", "list")
        assert first in held
        assert second not in held
        await place.command("queue", "release", first)
        (record,) = await place.lab.wait_for(1, 60)
        assert record.verdict.message_id == f"<first@{DOMAIN}>"

        async def is_told() -> bool:
            return "delivered" in await place.command("trace", first)

        await place.until("the delivery is told", is_told)
        traced = await place.command("trace", first)
        assert "451 4.3.2 Closed for the night" in traced
        assert "    C: MAIL FROM:<b-" in traced
        assert "    S: 451 4.3.2 Closed for the night" in traced
        delivery = traced.partition(": delivered (reply)")[2]
        assert "C: MAIL FROM" not in delivery  # of what was delivered nothing is kept
        assert "reverse-path at bounce.acme.example, EHLO mta1.esp.example" in traced
        assert "signed d=acme.example s=" in traced
        assert "receivers by the tree walk (RFC 9989): " in traced
        aligned = " and ".join(record.verdict.aligned_by)  # by libraries not ours
        assert f"receivers by the public suffix list: {aligned} aligned" in traced
        assert re.search(r"bounce\.acme\.example", traced)
        assert place.lab.received == 1  # the cancelled one never left
        events = [json.loads(line)["event"] for line in _lines(place)]
        assert {"accepted", "deferred", "delivered"} <= set(events)
        assert place.secrets[USER] not in place.relay_log()


def _lines(place: World) -> list[str]:
    return [line for line in place.relay_log().splitlines() if line.startswith("{")]


async def test_case_144_what_cannot_be_delivered_in_its_lifetime_expires(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        (place.directory / "sinks.toml").write_text(_RULES)
        text = place.config.read_text()
        text = text.replace('steps = ["2s", "4s"]', 'steps = ["1s"]\nlifetime = "2s"')
        place.config.write_text(text)
        await place.start_relay()
        message = await _submit(place, "late", "ann@alpha.test")

        async def is_over() -> bool:
            return "expired" in await place.command("queue", "why", message)

        await place.until("it expires", is_over)
        assert len(place.lab.refusals) >= 2  # tried more than once


async def test_a_held_destination_stops_what_comes_later_too_and_outlives_a_restart(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        await place.start_relay()
        await place.command("queue", "hold", "--to", "alpha.test", "--because", "asked")

        async def obeys() -> bool:  # at most 250 ms behind the store
            probe = await _submit(place, "probe", "ann@alpha.test")
            return "operator-hold: asked" in await place.command("queue", "why", probe)

        await place.until("the hold is obeyed", obeys)
        await place.stop_relay()
        await place.start_relay()
        later = await _submit(place, "later", "ann@alpha.test")
        other = await _submit(place, "other", "bob@beta.test")
        await place.lab.wait_for(
            lambda records: any(f"<other@{DOMAIN}>" in str(one) for one in records), 30
        )
        assert "delivered" in await place.command("queue", "why", other)
        assert "operator-hold: asked" in await place.command("queue", "why", later)
        assert "gate: destination alpha.test" in await place.command("queue", "list")
        await place.command("queue", "release", "--to", "alpha.test")

        async def is_delivered() -> bool:
            return "delivered" in await place.command("queue", "why", later)

        await place.until("what was held is delivered", is_delivered)


async def test_rerouted_mail_leaves_by_the_hops_given_until_that_is_undone(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        (place.directory / "sinks.toml").write_text(_RULES)  # alpha.test: 127.0.0.2
        await place.start_relay()
        first = await _submit(place, "first", "ann@alpha.test")
        await place.lab.wait_for(lambda _: len(place.lab.refusals) >= 1, 60)
        away = f"127.0.0.3:{place.lab.sink_port}"
        words = ("--to", "alpha.test", "--standing", "--because", "its MX is down")
        said = await place.command("queue", "reroute", *words, "--via", away)
        number = said.split()[1].rstrip(":")
        (place.directory / "sinks.toml").write_text("")  # only now: it has a way back

        async def left_by(message: str, host: str) -> bool:
            traced = await place.command("trace", message)
            return "delivered" in traced and host in traced

        await place.until(
            "it left by the other host", lambda: left_by(first, "[127.0.0.3]"), 30
        )
        await place.command("queue", "reroute", "--undo", number)
        assert "reroute" not in await place.command("queue", "list")

        async def goes_home() -> bool:
            probe = await _submit(place, "probe", "ann@alpha.test")
            await place.until("it is settled", lambda: left_by(probe, ""))
            return await left_by(probe, "[127.0.0.2]")

        await place.until("mail goes by its MX again", goes_home)
