"""Order, limits, patience and trouble (cases 29-36, 38-40, 42, 44, 133)."""

import asyncio
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
import uvloop

from soboo_mta.net import door
from soboo_mta.net.smtp_server import SubmissionServer
from soboo_mta.store.unit import StoreFull, StoreUnavailable
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.fakes.submission import (
    HEADER,
    HOST,
    MESSAGE,
    Client,
    desk,
    emptied,
    listening,
    talking,
)

SOON = timedelta(milliseconds=150)


async def test_case_029_bdat_is_refused_and_its_payload_is_never_read() -> None:
    async with talking(chunking=False) as (client, one):
        assert "CHUNKING" not in await client.say("EHLO c.example")
        await client.say("MAIL FROM:<a@acme.example>")
        await client.say("RCPT TO:<r@d.example>")
        assert (await client.say(b"BDAT 6 LAST\r\nRSET")).startswith("502 5.5.1")
        assert await client.closed()
    assert one.spool.kept == []


async def test_case_030_a_pipelined_transaction_and_quit_are_answered_in_order() -> (
    None
):
    async with talking() as (client, one):
        client.write(
            b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<bad>\r\n"
            b"RCPT TO:<r@d.example>\r\nDATA\r\n" + MESSAGE + b".\r\nNOOP\r\nQUIT\r\n"
        )
        codes = [(await client.reply())[:3] for _ in range(7)]
        assert codes == ["250", "501", "250", "354", "250", "250", "221"]
        assert await client.closed()
    assert len(one.spool.kept) == 1


async def test_case_030_commands_before_the_banner_are_answered_after_it() -> None:
    async with listening(desk()) as (_, port):
        client = await Client.connect(port)
        client.write(b"EHLO c.example\r\nNOOP\r\nQUIT\r\n")
        codes = [(await client.reply())[:3] for _ in range(4)]
        assert codes == ["220", "250", "250", "221"]
        assert await client.closed()
        await client.close()


async def test_case_031_commands_that_end_in_a_bare_lf_are_refused() -> None:
    async with talking() as (client, _):
        client.write(b"NOOP\n")
        assert (await client.reply()).startswith("500 5.5.2")
        assert (await client.say("NOOP")).startswith("250")


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"CONNECT a:25 HTTP/1.1\r\n\r\n",
        b"Host: x\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_case_032_other_protocols_are_closed_at_once(octets: bytes) -> None:
    async with talking(logged_in=False) as (client, one):
        await client.reply()
        client.write(octets)
        assert (await client.reply()).startswith("554 5.5.1")
        assert await client.closed()
        assert one.log.errors == []


async def test_case_032_random_octets_end_at_the_error_limit() -> None:
    async with talking(logged_in=False) as (client, one):
        await client.reply()
        client.write(b"\xfe\x80\x00junk\r\n" * 30)
        said = [await client.reply() for _ in range(11)]
        assert said[0].startswith("500")
        assert said[-1].startswith("421 4.7.0")
        assert one.log.errors == []


async def test_case_032_a_line_without_end_is_closed() -> None:
    async with talking(logged_in=False) as (client, _):
        await client.reply()
        client.write(b"x" * 70_000)
        assert (await client.reply()).startswith("500 5.5.6")


@pytest.mark.parametrize(
    "name",
    ["", "x" * 300, "a b", "<script>", "a\x0bb", "a;b", "müller", "[bad", "a(b)"],
)
async def test_case_033_names_that_are_no_hosts_are_refused(name: str) -> None:
    async with talking(logged_in=False) as (client, _):
        await client.reply()
        assert (await client.say(f"EHLO {name}".rstrip(" "))).startswith("501 5.5.4")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("503")


@pytest.mark.parametrize("name", ["localhost", "my_pc", "[127.0.0.1]", "[IPv6:::1]"])
async def test_case_033_names_in_use_are_taken_and_shown_to_nobody(name: str) -> None:
    async with talking() as (client, one):
        assert (await client.say(f"EHLO {name}")).startswith("250-mta.esp.example")
        assert (await client.send(MESSAGE)).startswith("250")
    assert name.encode() not in one.spool.kept[0].content
    assert b"127.0.0.1" not in one.spool.kept[0].content


@pytest.mark.parametrize(
    "command", ["RSET", "EHLO again.example", "HELO again.example"]
)
async def test_case_034_reset_and_ehlo_end_the_transaction_not_the_login(
    command: str,
) -> None:
    async with talking() as (client, _):
        await client.say("MAIL FROM:<a@acme.example>")
        await client.say("RCPT TO:<r@d.example>")
        assert (await client.say(command)).startswith("250")
        assert (await client.say("RCPT TO:<r@d.example>")).startswith("503")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("250")


async def test_case_035_commands_out_of_order_are_refused_then_closed() -> None:
    async with talking(logged_in=False) as (client, _):
        await client.reply()
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("503")
        await client.say("EHLO c.example")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
        assert (await client.say("RCPT TO:<r@d.example>")).startswith("503")
        assert (await client.say("DATA")).startswith("503")
        await client.say("AUTH PLAIN AGFjbWUAczNjcmV0")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("250")
        assert (await client.say("MAIL FROM:<b@acme.example>")).startswith("503")
        assert (await client.say("DATA")).startswith("503 5.5.1 No recipient")
        said = [await client.say("XYZZY") for _ in range(5)]
        assert said[0].startswith("500 5.5.1")
        assert said[-1].startswith("421 4.7.0")
        assert await client.closed()


async def test_case_035_idle_commands_are_counted_between_messages() -> None:
    options = ListenerOptions(max_idle_commands=3)
    async with talking(options=options) as (client, _):
        for _ in range(2):
            assert (await client.say("NOOP")).startswith("250")
            assert (await client.say("RSET")).startswith("250")
            assert (await client.send(MESSAGE)).startswith("250")
        for _ in range(3):
            await client.say("NOOP")
        assert (await client.say("NOOP")).startswith("421 4.7.0")


async def test_case_036_recipients_over_the_limit_wait_for_a_further_message() -> None:
    one = desk(AcceptanceOptions(host_name=HOST, max_recipients=100))
    async with talking(one) as (client, _):
        client.write(b"MAIL FROM:<a@acme.example>\r\n")
        client.write(b"".join(b"RCPT TO:<r%d@d.example>\r\n" % i for i in range(150)))
        said = [await client.reply() for _ in range(151)]
        assert all(reply.startswith("250") for reply in said[:101])
        assert all(reply.startswith("452 4.5.3") for reply in said[101:])
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    assert len(one.spool.kept[0].recipients) == 100
    assert one.handed_over == [(one.spool.kept[0], tuple(range(100)))]


async def test_case_036_a_flood_of_recipients_is_cut_off() -> None:
    one = desk(AcceptanceOptions(host_name=HOST, max_recipients=100))
    async with talking(one) as (client, _):
        await client.say("MAIL FROM:<a@acme.example>")
        client.write(b"".join(b"RCPT TO:<r%d@d.example>\r\n" % i for i in range(5_000)))
        said = [await client.reply() for _ in range(201)]
        assert said[-1].startswith("421 4.7.0")


async def test_case_038_a_command_octet_by_octet_does_not_hold_the_connection() -> None:
    options = ListenerOptions(command_timeout=SOON)
    async with talking(options=options) as (client, _):

        async def drip() -> None:
            while True:
                client.write(b"N")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.closed()
        dripping.cancel()


async def test_case_038_a_client_that_never_logs_in_is_closed() -> None:
    options = ListenerOptions(login_timeout=SOON)
    async with talking(options=options, logged_in=False) as (client, _):
        await client.reply()
        await client.say("EHLO c.example")
        client.write(b"AUTH LOGIN\r\n")
        await client.reply()
        assert (await client.reply()).startswith("421 4.4.2")


async def test_case_038_data_below_the_minimum_rate_is_closed_while_others_send() -> (
    None
):
    options = ListenerOptions(data_grace=SOON, min_data_rate=1_000_000)
    one = desk()
    async with listening(one, options) as (_, port):
        slow, other = await Client.connect(port), await Client.connect(port)
        await slow.open()
        await other.open()
        await slow.envelope()
        for octet in HEADER[:5]:
            slow.write(bytes([octet]))
        assert (await other.send(MESSAGE)).startswith("250")
        assert (await slow.reply()).startswith("421 4.4.2 The message came too slowly")
        assert await slow.closed()
        await slow.close()
        await other.close()
    assert len(one.spool.kept) == 1


async def test_case_038_steady_data_may_take_longer_than_any_single_timeout() -> None:
    options = ListenerOptions(data_block_timeout=SOON, command_timeout=SOON)
    async with talking(options=options) as (client, one):
        await client.envelope()
        client.write(MESSAGE)
        for _ in range(8):
            client.write(b"one more line\r\n")
            await asyncio.sleep(0.05)
        client.write(b".\r\n")
        assert (await client.reply()).startswith("250")
    assert one.spool.kept[0].content.count(b"one more line") == 8


async def test_case_039_connections_over_a_limit_get_421_and_a_slot_comes_back() -> (
    None
):
    options = ListenerOptions(max_connections=2, max_connections_per_address=2)
    async with listening(desk(), options) as (_, port):
        first, second = await Client.connect(port), await Client.connect(port)
        assert (await first.reply()).startswith("220")
        assert (await second.reply()).startswith("220")
        third = await Client.connect(port)
        assert (await third.reply()).startswith("421 4.3.2")
        assert await third.closed()
        await first.say("QUIT")
        assert await first.closed()
        fourth = await Client.connect(port)
        assert (await fourth.reply()).startswith("220")
        for client in (first, second, third, fourth):
            await client.close()


async def test_case_039_one_address_does_not_take_every_connection() -> None:
    options = ListenerOptions(max_connections=9, max_connections_per_address=1)
    async with (
        talking(options=options) as (_, one),
        listening(one, options) as (_, port),
    ):
        first, second = await Client.connect(port), await Client.connect(port)
        assert (await first.reply()).startswith("220")
        assert (await second.reply()).startswith("421 4.7.0")
        await first.close()
        await second.close()


@pytest.mark.parametrize("octets", [b"", HEADER[:40], MESSAGE, MESSAGE + b".", b"."])
async def test_case_040_a_client_that_leaves_inside_data_leaves_nothing(
    octets: bytes,
) -> None:
    one = desk()
    async with listening(one) as (server, port):
        client = await Client.connect(port)
        await client.open()
        await client.envelope()
        client.write(octets)
        await client.close()
        await emptied(server)
    assert one.spool.kept == []
    assert one.log.errors == []


async def only_one_left(server: SubmissionServer) -> None:
    async with asyncio.timeout(5):
        while server.connections != 1:
            await asyncio.sleep(0.005)


async def test_case_040_a_client_that_leaves_inside_the_commit_does_not_undo_it() -> (
    None
):
    one = desk()
    one.spool.gate = asyncio.Event()
    async with listening(one) as (server, port):
        client = await Client.connect(port)
        await client.open()
        await client.envelope()
        client.write(MESSAGE + b".\r\n")
        await one.spool.is_committing.wait()
        client.writer.transport.abort()  # RST
        other = await Client.connect(port)  # behind it on the same loop
        await other.open()
        await other.close()
        await only_one_left(server)  # what it holds in memory is counted still
        assert one.spool.kept == []
        one.spool.gate.set()
        await emptied(server)
    assert len(one.spool.kept) == len(one.handed_over) == 1
    assert one.log.errors == []


async def test_case_040_a_client_that_sends_no_more_hears_what_became_of_its_message() -> (
    None
):
    one = desk()
    one.spool.gate = asyncio.Event()
    async with listening(one) as (_, port):
        client = await Client.connect(port)
        await client.open()
        await client.envelope()
        client.write(MESSAGE + b".\r\n")
        client.writer.write_eof()
        await one.spool.is_committing.wait()
        one.spool.gate.set()
        assert (await client.reply()).startswith("250")
        assert await client.closed()
        await client.close()
    assert len(one.spool.kept) == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(28, "No space left on device"), "451 4.3.0"),
        (RuntimeError("select * from secret"), "451 4.3.0"),
        (StoreUnavailable("database is locked"), "451 4.3.0"),
        (StoreFull("disk full"), "452 4.3.1"),
    ],
)
async def test_case_042_an_error_of_ours_is_temporary_and_says_nothing_of_it(
    failure: Exception, said: str
) -> None:
    async with talking() as (client, one):
        one.spool.failure = failure
        answer = await client.send(MESSAGE)
        assert answer.startswith(said)
        assert str(failure) not in answer
        assert type(failure).__name__ not in answer
        assert failure in one.log.errors
        one.spool.failure = None
        assert (await client.send(MESSAGE)).startswith("250")  # no transaction is left
    assert len(one.spool.kept) == len(one.handed_over) == 1


async def test_case_042_a_broken_directory_is_temporary_at_mail_and_auth() -> None:
    async with talking() as (client, one):
        one.directory.broken = StoreUnavailable("gone")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("451 4.3.0")
        one.directory.broken = None
        assert (await client.send(MESSAGE)).startswith("250")


async def test_case_044_nobody_learns_who_exists() -> None:
    async with talking() as (client, _):
        assert (await client.say("VRFY root")).startswith("252")
        assert (await client.say("EXPN staff")).startswith("502")
        assert (await client.say("HELP")).startswith("214")


async def test_case_129_over_the_memory_bound_data_is_drained_and_answered_452() -> (
    None
):
    options = ListenerOptions(max_buffered_octets=5_000)
    async with talking(options=options) as (client, one):
        big = MESSAGE + (b"z" * 98 + b"\r\n") * 100
        assert (await client.send(big)).startswith("452 4.3.1")
        assert (await client.send(MESSAGE)).startswith("250")
    assert len(one.spool.kept) == 1


async def test_case_133_stop_ends_idle_clients_now_and_lets_a_message_through() -> None:
    one = desk()
    async with listening(one) as (server, port):
        idle, busy = await Client.connect(port), await Client.connect(port)
        await idle.open()
        await busy.open()
        await busy.envelope()
        stopping = asyncio.create_task(server.stop(timedelta(seconds=10)))
        assert (await idle.reply()).startswith("421 4.3.2")
        busy.write(MESSAGE + b".\r\n")
        assert (await busy.reply()).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
        await stopping
        with pytest.raises(OSError):  # noqa: PT011 - whichever the system says
            await Client.connect(port)
        await idle.close()
        await busy.close()
    assert len(one.spool.kept) == 1


async def test_case_133_a_message_kept_after_the_grace_is_still_told_so() -> None:
    one = desk()
    one.spool.gate = asyncio.Event()
    async with listening(one) as (server, port):
        client = await Client.connect(port)
        await client.open()
        await client.envelope()
        client.write(MESSAGE + b".\r\n")
        await one.spool.is_committing.wait()
        stopping = asyncio.create_task(server.stop(timedelta(0)))
        await client_cannot_connect(port)
        one.spool.gate.set()
        assert (await client.reply()).startswith("250")
        await stopping
        await client.close()
    assert len(one.spool.kept) == 1


async def client_cannot_connect(port: int) -> None:
    """Return once the listener is closed."""
    async with asyncio.timeout(5):
        while True:
            try:
                await (await Client.connect(port)).close()
            except OSError:
                return


async def test_case_042_content_is_never_read_as_commands_even_after_an_error_of_ours() -> (
    None
):
    options = ListenerOptions(min_data_rate=0)  # the settings refuse it: it divides
    async with talking(options=options) as (client, one):
        await client.envelope()
        client.write(b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<r@d.example>\r\n.\r\n")
        assert (await client.reply()).startswith("451 4.3.0")
        assert await client.closed()
        assert one.log.errors


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_case_040_clients_that_are_gone_before_they_are_accepted_leave_nothing_open(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def come_and_go() -> None:
        async with listening(desk()) as (server, port):
            first = await Client.connect(port)  # what a loop opens once is open now
            assert (await first.reply()).startswith("220")
            await first.close()
            await emptied(server)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(50):
                client = socket.create_connection(("127.0.0.1", port))
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                client.close()  # a reset
            last = await Client.connect(port)  # behind them in the same queue
            assert (await last.reply()).startswith("220")
            await last.close()
            await emptied(server)
            async with asyncio.timeout(5):
                while len(os.listdir("/proc/self/fd")) > before:
                    await asyncio.sleep(0.005)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(come_and_go())


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Inside, this process can open nothing: holes below the limit are filled."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, kept[1]))
        with suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)
        for filler in fillers:
            os.close(filler)


async def test_case_128_without_descriptors_it_waits_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "_EXHAUSTED_PAUSE", 0.01)
    one = desk()
    async with listening(one) as (_, port):
        client = socket.socket()  # has its descriptor: the server's side has none
        client.setblocking(False)
        with no_free_descriptor():
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            async with asyncio.timeout(5):
                while not one.log.errors:
                    await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(sock=client)
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"220")
        writer.close()
        await writer.wait_closed()
    assert all(isinstance(error, OSError) for error in one.log.errors)


async def test_case_126_without_room_mail_is_refused_before_the_content_is_sent() -> (
    None
):
    async with talking() as (client, one):
        one.spool.has_room = False
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("452 4.3.1")
        one.spool.has_room = True
        assert (await client.send(MESSAGE)).startswith("250")
