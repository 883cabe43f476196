"""SIGTERM with everything under way: the truth for each client, exit code 0, and after
the next start each message exactly once."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World
from tests.chaos.held_host import HeldHost
from tests.chaos.ready_world import ready_world
from tests.chaos.sender import Client, Mail, written

_HELD, _ADDRESS = "held.test", "127.0.0.9"
_PATIENCE = 30.0


@pytest.mark.parametrize("workers", [0, 2])
async def test_case_133_a_stop_tells_each_client_the_truth_and_restarts_without_a_copy(
    tmp_path: Path, workers: int
) -> None:
    environment = {"SOBOO_SERVER__STOP_WITHIN": "4s"}
    async with ready_world(tmp_path, workers=workers, environment=environment) as place:
        place.zones.write_destination(_HELD, _ADDRESS)
        host = HeldHost()
        server = await asyncio.start_server(host.serve, _ADDRESS, place.lab.sink_port)
        await place.start_relay()
        departing = await _submitted(place, _mail("departing", f"ann@{_HELD}"))
        await place.until("it departs", lambda: _is(host.ends == ["held"]), _PATIENCE)
        idle = await Client.connect(place)
        quick, slow = _mail("quick", "ann@alpha.test"), _mail("slow", "bea@beta.test")
        finishing = await _in_data(place, quick)
        stalled = await _in_data(place, slow)
        assert place.relay is not None
        os.kill(place.relay.pid, signal.SIGTERM)
        assert (await idle.reply()).startswith("421")
        finishing.write(quick.octets[200:] + b".\r\n")
        quick.reply = await finishing.reply()
        assert quick.is_acknowledged, quick.reply
        assert (await stalled.reply()).startswith("421")
        assert await place.relay.wait() == 0
        for client in (idle, finishing, stalled):
            client.close()
        host.go_on.set()  # what was sent to it ended before its final dot
        await place.until("it is over", lambda: _is(host.ends == ["gone"]), _PATIENCE)
        await place.start_relay()
        await _submitted(place, slow)
        await place.until("it arrives", lambda: _is(len(host.ends) == 2), _PATIENCE)
        await place.lab.wait_for(2, _PATIENCE)
        assert await place.stop_relay() == 0
        assert host.ends == ["gone", "dot"], departing.name
        arrived = Counter(one.verdict.message_id for one in place.lab.records)
        assert arrived == {"<quick@acme.example>": 1, "<slow@acme.example>": 1}
        server.close()


def _mail(name: str, recipient: str) -> Mail:
    return written(name, (recipient,), name.encode() * 200)


async def _submitted(place: World, mail: Mail) -> Mail:
    client = await Client.connect(place)
    await client.submit(mail)
    client.close()
    assert mail.is_acknowledged, mail.reply
    return mail


async def _in_data(place: World, mail: Mail) -> Client:
    """A client that has sent the beginning of its content."""
    client = await Client.connect(place)
    await client.say("MAIL FROM:<hello@acme.example>", "250")
    await client.say(f"RCPT TO:<{mail.recipients[0]}>", "250")
    await client.say("DATA", "354")
    client.write(mail.octets[:200])
    return client


async def _is(answer: bool) -> bool:
    return answer
