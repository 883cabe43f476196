"""How much one client may take: connections, messages, recipients, memory, time
(cases 10, 38, 39, 41, 129)."""

import asyncio
import ssl
from datetime import timedelta

import trustme

from soboo_mta.net.smtp_server import SharedTimes
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.fakes.submission import (
    HOST,
    MESSAGE,
    Client,
    desk,
    emptied,
    listening,
    talking,
)

GOOD = "AUTH PLAIN AGFjbWUAczNjcmV0"
SOON = timedelta(milliseconds=150)


async def logged_in(port: int) -> tuple[Client, str]:
    client = await Client.connect(port)
    return client, await client.open()


# ---- connections


async def test_case_039_connections_of_one_credential_are_bounded() -> None:
    options = ListenerOptions(max_connections_per_credential=2)
    async with listening(desk(), options) as (server, port):
        first, said = await logged_in(port)
        assert said.startswith("235")
        second, said = await logged_in(port)
        assert said.startswith("235")
        third, said = await logged_in(port)
        assert said.startswith("421 4.7.0")
        assert await third.closed()
        await first.say("QUIT")
        assert await first.closed()
        fourth, said = await logged_in(port)
        assert said.startswith("235")
        for client in (first, second, third, fourth):
            await client.close()
        await emptied(server)
        assert not server.limits.admission._by_credential


async def test_case_039_a_login_that_is_forgotten_or_revoked_makes_room() -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    asking = ssl.create_default_context()
    authority.configure_trust(asking)
    options = ListenerOptions(max_connections_per_credential=1)
    one = desk()
    async with listening(one, options, tls=serving) as (_, port):
        first, said = await logged_in(port)
        assert said.startswith("235")
        await first.say("STARTTLS")
        await first.start_tls(asking)  # what was said in clear counts no more
        second, said = await logged_in(port)
        assert said.startswith("235")
        one.directory.revoked = {one.directory.users["acme", "s3cret"].credential_id}
        assert (await second.say("MAIL FROM:<a@acme.example>")).startswith("530")
        one.directory.revoked = set()
        third, said = await logged_in(port)
        assert said.startswith("235")
        for client in (first, second, third):
            await client.close()


async def test_case_039_connecting_too_often_gets_421_over_all_listeners() -> None:
    options = ListenerOptions(connections_per_minute_per_address=3)
    times, one = SharedTimes(), desk()
    async with (
        listening(one, options, times=times) as (_, first),
        listening(one, options, times=times) as (_, second),
    ):
        for port in (first, second, first):
            client = await Client.connect(port)
            assert (await client.reply()).startswith("220")
            assert (await client.say("QUIT")).startswith("221")
            await client.close()
        for port in (first, second):
            client = await Client.connect(port)
            said = await client.reply()
            assert said.startswith("421 4.7.0 Too many connections a minute")
            assert await client.closed()
            await client.close()


# ---- messages and recipients


async def test_case_039_messages_a_minute_are_bounded_for_a_credential() -> None:
    options = ListenerOptions(messages_per_minute_per_credential=2)
    one = desk()
    async with listening(one, options) as (_, port):
        first, _ = await logged_in(port)
        assert (await first.send(MESSAGE)).startswith("250")
        second, _ = await logged_in(port)
        assert (await second.send(MESSAGE)).startswith("250")
        said = await second.say("MAIL FROM:<a@acme.example>")
        assert said.startswith("451 4.7.1")
        assert (await second.say("RCPT TO:<r@d.example>")).startswith("503")
        await second.say("QUIT")
        for client in (first, second):
            await client.close()
    assert len(one.spool.kept) == 2


async def test_case_039_recipients_over_the_rate_wait_and_the_others_are_sent() -> None:
    options = ListenerOptions(recipients_per_minute_per_address=3)
    async with talking(options=options) as (client, one):
        await client.say("MAIL FROM:<app@acme.example>")
        said = [
            await client.say(f"RCPT TO:<{name}@d.example>") for name in "aabbccdddd"
        ]
        assert [reply[:3] for reply in said] == ["250"] * 6 + ["451"] * 4
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    assert len(one.spool.kept[0].recipients) == 3


# ---- logins


async def test_case_010_workers_count_guesses_together() -> None:
    """Two servers with one table, as two workers have."""
    options = ListenerOptions(
        failed_login_delay=timedelta(0), max_failed_logins_per_address=4
    )
    times, one = SharedTimes(), desk()
    async with (
        listening(one, options, times=times) as (_, first),
        listening(one, options, times=times) as (_, second),
    ):
        for port in (first, second, first, second):
            client = await Client.connect(port)
            await client.reply()
            await client.say("EHLO c.example")
            wrong = await client.say("AUTH PLAIN AGFjbWUAd3Jvbmc=")
            assert wrong.startswith("535 5.7.8")
            await client.close()
        for port in (first, second):
            client, said = await logged_in(port)
            assert said.startswith("421 4.7.0")
            await client.close()
    assert len(one.directory.asked) == 4


# ---- memory


async def test_case_129_what_is_being_received_counts_at_mail_and_data() -> None:
    options = ListenerOptions(max_buffered_octets=30_000)
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=25_000))
    async with listening(one, options) as (server, port):
        busy, _ = await logged_in(port)
        other, _ = await logged_in(port)
        assert (await other.say("MAIL FROM:<a@acme.example> SIZE=20000"))[:3] == "250"
        assert (await other.say("RCPT TO:<r@d.example>")).startswith("250")
        await busy.envelope()
        busy.write(MESSAGE + (b"z" * 98 + b"\r\n") * 200)
        async with asyncio.timeout(5):
            while server.limits.admission.buffered < 20_000:
                await asyncio.sleep(0.005)
        assert (await other.say("DATA")).startswith("452 4.3.1")
        await other.say("RSET")
        said = await other.say("MAIL FROM:<a@acme.example> SIZE=20000")
        assert said.startswith("452 4.3.1")
        assert (await other.send(MESSAGE)).startswith("250")  # a small one has room
        busy.write(b".\r\n")
        assert (await busy.reply()).startswith("250")
        said = await other.say("MAIL FROM:<a@acme.example> SIZE=20000")
        assert said.startswith("250")
        for client in (busy, other):
            await client.close()
        await emptied(server)
        assert server.limits.admission.buffered == 0
    assert len(one.spool.kept) == 2


async def test_case_129_a_message_counts_until_its_commit_though_its_client_left() -> (
    None
):
    one = desk()
    one.spool.gate = asyncio.Event()
    async with listening(one) as (server, port):
        client, _ = await logged_in(port)
        await client.envelope()
        client.write(MESSAGE + b".\r\n")
        await one.spool.is_committing.wait()
        client.writer.transport.abort()
        other, _ = await logged_in(port)
        assert server.limits.admission.buffered >= len(MESSAGE)
        await other.close()
        one.spool.gate.set()
        await emptied(server)
        assert server.limits.admission.buffered == 0
    assert len(one.spool.kept) == 1


# ---- the processor


async def test_case_041_twenty_large_messages_at_once_leave_the_loop_free() -> None:
    """The clients share our loop, so that it has their work as well."""
    body = MESSAGE + (b"z" * 98 + b"\r\n") * 50_000  # 5 MB
    slowest = 0.0

    async def watch() -> None:
        nonlocal slowest
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await asyncio.sleep(0.01)
            slowest = max(slowest, clock() - began)

    async def send(client: Client) -> None:
        await client.envelope()
        for start in range(0, len(body), 1 << 20):
            client.write(body[start : start + (1 << 20)])
            await client.writer.drain()
        client.write(b".\r\n")
        async with asyncio.timeout(60):
            assert (await client.reader.readline()).startswith(b"250")
        await client.close()

    one = desk()
    async with listening(one) as (server, port):
        bystander, _ = await logged_in(port)
        clients = [(await logged_in(port))[0] for _ in range(20)]
        watching = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(send(client))
            while server.limits.admission.buffered < len(body):
                await asyncio.sleep(0.005)
            assert (await bystander.send(MESSAGE)).startswith("250")
            assert len(one.spool.kept) < 20  # it did not wait for them
        watching.cancel()
        await bystander.close()
    assert slowest < 1.0
    assert len(one.spool.kept) == 21
