"""Two thousand clients that drip, at every stage, and one that works (case 38)."""

import asyncio
import resource
import ssl
from collections.abc import Iterator
from datetime import timedelta

import pytest
import trustme

from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Listener, SubmissionServer
from soboo_mta.submission.options import ListenerOptions
from tests.fakes.submission import MESSAGE, Client, desk, emptied

AT_EACH_STAGE = 400
DRIP_SECONDS = 0.5
PATIENCE = timedelta(seconds=4)
OPTIONS = ListenerOptions(
    max_connections=3_000,
    max_connections_per_address=3_000,
    max_connections_per_credential=3_000,
    handshake_timeout=PATIENCE,
    login_timeout=PATIENCE,
    command_timeout=PATIENCE,
    data_block_timeout=PATIENCE,
    data_grace=PATIENCE,
    failed_login_delay=timedelta(0),
)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Both ends of each connection are ours."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _in_a_command(client: Client) -> None:
    await client.open()


async def _in_auth(client: Client) -> None:
    await client.reply()
    await client.say("EHLO c.example")
    assert (await client.say("AUTH LOGIN")).startswith("334")


async def _in_data(client: Client) -> None:
    await client.open()
    assert (await client.envelope()).startswith("354")


async def _in_bdat(client: Client) -> None:
    await client.open()
    await client.say("MAIL FROM:<app@acme.example>")
    await client.say("RCPT TO:<rcpt@dest.example>")
    client.write(b"BDAT 100000 LAST\r\n")


async def _in_the_handshake(client: Client) -> None:
    client.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


STAGES = (_in_a_command, _in_auth, _in_data, _in_bdat, _in_the_handshake)


async def test_case_038_two_thousand_slow_clients_are_cut_while_others_are_served(
    many_descriptors: None,
) -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    one = desk()
    server = SubmissionServer(acceptance=one.acceptance, options=OPTIONS, tls=serving)
    clear, secured = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    port, tls_port = clear.getsockname()[1], secured.getsockname()[1]
    await server.start([Listener(clear), Listener(secured, implicit_tls=True)])
    ends: list[str] = []

    async def drip(number: int) -> None:
        begin = STAGES[number % len(STAGES)]
        is_handshake = begin is _in_the_handshake
        client = await Client.connect(tls_port if is_handshake else port)
        await begin(client)
        ending = asyncio.create_task(client.reply())
        while not ending.done():
            client.write(b"x")
            await asyncio.wait([ending], timeout=DRIP_SECONDS)
        ends.append(f"{begin.__name__} {ending.result()[:9]}")
        await client.close()

    try:
        async with asyncio.TaskGroup() as group:
            dripping = [
                group.create_task(drip(number))
                for number in range(AT_EACH_STAGE * len(STAGES))
            ]
            slowest = await _work(port, dripping)
        await emptied(server)
    finally:
        await server.stop(timedelta(0))
    assert {end: ends.count(end) for end in ends} == {
        "_in_a_command 421 4.4.2": AT_EACH_STAGE,
        "_in_auth 421 4.4.2": AT_EACH_STAGE,
        "_in_data 421 4.4.2": AT_EACH_STAGE,
        "_in_bdat 421 4.4.2": AT_EACH_STAGE,
        "_in_the_handshake ": AT_EACH_STAGE,
    }
    assert slowest < 3.0
    assert one.log.errors == []
    assert server.limits.admission.buffered == 0


async def _work(port: int, dripping: list["asyncio.Task[None]"]) -> float:
    """Send one message after the other while they drip; return the longest wait."""
    clock = asyncio.get_running_loop().time
    client = await Client.connect(port)
    assert (await client.open()).startswith("235")
    sent, slowest = 0, 0.0
    while not all(task.done() for task in dripping):
        began = clock()
        assert (await client.send(MESSAGE)).startswith("250")
        slowest = max(slowest, clock() - began)
        sent += 1
        await asyncio.sleep(0.02)
    await client.close()
    assert sent > 50
    return slowest
