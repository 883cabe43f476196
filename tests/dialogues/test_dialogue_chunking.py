"""CHUNKING (RFC 3030): messages by BDAT, whole or in pieces, and what is refused of them
(cases 1, 2, 24, 25, 26, 29, 38, 129)."""

import asyncio
from datetime import timedelta

import pytest

from soboo_mta.net.smtp_server.protocol.chunks import Chunks
from soboo_mta.submission import replies
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.dialogues.test_dialogue_framing import FAKE_ENDS, SMUGGLED
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


async def begin(client: Client) -> None:
    """MAIL and RCPT."""
    assert (await client.say("MAIL FROM:<app@acme.example>")).startswith("250")
    assert (await client.say("RCPT TO:<rcpt@dest.example>")).startswith("250")


async def chunk(client: Client, octets: bytes, last: str = "") -> str:
    client.write(b"BDAT %d%s\r\n" % (len(octets), last.encode()) + octets)
    return await client.reply()


async def test_a_message_in_one_chunk_is_kept_octet_for_octet() -> None:
    async with talking() as (client, one):
        assert "CHUNKING" in await client.say("EHLO c.example")
        await begin(client)
        body = (
            b"\r\n.\r\n..\r\n.x\r\nQUIT\r\n"  # dots are not stuffed, nor commands read
        )
        assert (await chunk(client, HEADER + body, " LAST")).startswith("250 2.0.0 Acc")
        assert (await client.send(MESSAGE)).startswith("250")  # the next may be DATA
    assert one.spool.kept[0].content.endswith(HEADER + body)
    assert len(one.spool.kept) == 2


async def test_chunks_of_any_size_make_one_message() -> None:
    async with talking() as (client, one):
        for size in (1, 7, 100, len(MESSAGE)):
            await begin(client)
            pieces = [MESSAGE[i : i + size] for i in range(0, len(MESSAGE), size)]
            for piece in pieces:
                said = await chunk(client, piece)
                assert said == f"250 2.0.0 {len(piece)} octets received"
            assert (await client.say("NOOP")).startswith("250")
            assert (await chunk(client, b"", " LAST")).startswith("250 2.0.0 Accepted")
    assert all(kept.content.endswith(MESSAGE) for kept in one.spool.kept)
    assert len(one.spool.kept) == len(one.handed_over) == 4


async def test_a_pipelined_transaction_by_bdat_is_answered_in_order() -> None:
    async with talking() as (client, one):
        client.write(
            b"MAIL FROM:<app@acme.example>\r\nRCPT TO:<rcpt@dest.example>\r\n"
            b"BDAT %d\r\n%sBDAT 0\r\nBDAT %d last\r\n%sNOOP\r\nQUIT\r\n"
            % (len(HEADER), HEADER, len(MESSAGE) - len(HEADER), MESSAGE[len(HEADER) :])
        )
        said = [await client.reply() for _ in range(7)]
        assert [reply[:3] for reply in said] == ["250"] * 6 + ["221"]
        assert said[4].startswith("250 2.0.0 Accepted")
        assert await client.closed()
    assert one.spool.kept[0].content.endswith(MESSAGE)


async def test_octets_that_come_one_by_one_are_one_chunk() -> None:
    async with talking() as (client, one):
        await begin(client)
        octets = b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE
        for start in range(0, len(octets), 5):
            client.write(octets[start : start + 5])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.reply()).startswith("250")
    assert one.spool.kept[0].content.endswith(MESSAGE)


async def test_reset_between_chunks_throws_them_away() -> None:
    options = ListenerOptions(max_buffered_octets=2 * len(MESSAGE))
    async with talking(options=options) as (client, one):
        for command in ("RSET", "EHLO c.example", "RSET"):
            await begin(client)
            assert (await chunk(client, MESSAGE)).startswith("250")
            assert (await client.say(command)).startswith("250")
            said = await chunk(client, MESSAGE, " LAST")
            assert said.startswith("503 5.5.1")
        assert (await client.send(MESSAGE)).startswith(
            "250"
        )  # nothing is held any more
    assert len(one.spool.kept) == 1


async def test_chunks_without_a_transaction_are_read_and_refused() -> None:
    async with talking() as (client, one):
        said = await chunk(client, b"MAIL FROM:<a@acme.example>\r\n", " LAST")
        assert said.startswith("503 5.5.1 Say MAIL first")
        await client.say("MAIL FROM:<app@acme.example>")
        assert (await chunk(client, MESSAGE)).startswith("503 5.5.1 No recipient")
        assert (await chunk(client, MESSAGE, " LAST")).startswith("503")
        await client.say("RCPT TO:<rcpt@dest.example>")
        assert (await chunk(client, MESSAGE, " LAST")).startswith("250")
    assert len(one.spool.kept) == 1


async def test_a_chunk_of_a_client_that_did_not_log_in_is_not_read() -> None:
    async with talking(logged_in=False) as (client, one):
        await client.reply()
        await client.say("EHLO c.example")
        client.write(b"BDAT 100000 LAST\r\n")
        assert (await client.reply()).startswith("530 5.7.0")
        assert await client.closed()
    assert one.spool.kept == []


async def test_data_and_bdat_do_not_mix() -> None:
    async with talking() as (client, one):
        await begin(client)
        assert (await chunk(client, HEADER)).startswith("250")
        assert (await client.say("DATA")).startswith("503 5.5.1")
        assert (await client.say("RCPT TO:<late@dest.example>")).startswith("503")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("503")
        assert (await chunk(client, b"\r\nHello\r\n", " LAST")).startswith("250")
    assert [str(to) for to in one.spool.kept[0].recipients] == ["rcpt@dest.example"]


@pytest.mark.parametrize(
    "argument", ["", " ", " LAST", " x", " -1", " 1 FIRST", " 1 LAST x", " " + "9" * 21]
)
async def test_a_chunk_of_no_known_size_ends_the_connection(argument: str) -> None:
    async with talking() as (client, one):
        await begin(client)
        client.write(f"BDAT{argument}\r\nRSET\r\n".encode())
        assert (await client.reply()).startswith("501 5.5.4")
        assert await client.closed()
    assert one.spool.kept == []


async def test_case_026_binarymime_is_not_offered_and_refused_with_bdat_as_well() -> (
    None
):
    async with talking() as (client, _):
        assert "BINARYMIME" not in await client.say("EHLO c.example")
        said = await client.say("MAIL FROM:<a@acme.example> BODY=BINARYMIME")
        assert said.startswith("555 5.5.4")
        assert (await client.say("MAIL FROM:<a@b.example> BODY=8BITMIME")).startswith(
            "250"
        )


@pytest.mark.parametrize("fake_end", FAKE_ENDS)
async def test_case_001_no_fake_end_in_a_chunk_makes_a_second_message(
    fake_end: bytes,
) -> None:
    async with talking() as (client, one):
        await begin(client)
        said = await chunk(client, MESSAGE + b"x" + fake_end + SMUGGLED, " LAST")
        assert said.startswith("554 5.6.0")
        assert one.spool.kept == []
        assert (await client.send(MESSAGE)).startswith("250 2.0.0")


@pytest.mark.parametrize(
    "octets", [b"a\nb", b"a\rb", b"a\r\r\nb", b"a\0b", b"x" * 999, b"y" * 20_000]
)
async def test_case_002_024_the_framing_of_chunks_is_checked_like_datas(
    octets: bytes,
) -> None:
    async with talking() as (client, one):
        await begin(client)
        half = len(octets) // 2
        assert (await chunk(client, MESSAGE + octets[:half])).startswith("250")
        said = await chunk(client, octets[half:] + b"\r\n", " LAST")
        assert said.startswith("554 5.6.0")
        assert one.spool.kept == []
        assert (await client.say("RCPT TO:<r@dest.example>")).startswith("503")
        assert (await client.send(MESSAGE)).startswith("250")


async def test_a_last_line_without_its_end_gets_one() -> None:
    async with talking() as (client, one):
        await begin(client)
        assert (await chunk(client, MESSAGE[:-2], " LAST")).startswith("250")
    assert one.spool.kept[0].content.endswith(MESSAGE)


async def test_case_025_size_is_judged_over_all_chunks_and_the_rest_is_drained() -> (
    None
):
    limit = 10_000
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=limit))
    async with talking(one) as (client, _):
        line = b"z" * 98 + b"\r\n"
        exact = MESSAGE + line * ((limit - len(MESSAGE)) // 100)
        exact += b"z" * (limit - len(exact) - 2) + b"\r\n"
        await begin(client)
        assert (await chunk(client, exact[:5_000])).startswith("250")
        assert (await chunk(client, exact[5_000:], " LAST")).startswith("250")
        await begin(client)
        assert (await chunk(client, exact)).startswith("250")
        assert (await chunk(client, b"\r\n")).startswith("552 5.3.4")
        assert (await chunk(client, line * 500)).startswith("552 5.3.4")
        assert (await chunk(client, line, " LAST")).startswith("552 5.3.4")
        assert (await client.send(MESSAGE)).startswith("250")
    assert len(one.spool.kept) == 2


async def test_case_025_a_chunk_far_over_the_size_is_not_read_to_its_end() -> None:
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=1_000))
    async with talking(one) as (client, _):
        await begin(client)
        client.write(b"BDAT 99999999999 LAST\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert await client.closed()


def test_case_025_over_the_size_no_chunk_is_held() -> None:
    chunks = Chunks(1_000)
    chunks.expect(900)
    chunks.feed(b"z" * 900)
    assert chunks.held == 900
    chunks.expect(200)
    assert chunks.held == 0
    chunks.feed(b"z" * 200)
    assert chunks.received == 1_100
    assert chunks.refusal is not None
    assert chunks.refusal.reply == replies.too_large(1_000)


async def test_case_029_octets_of_a_refused_chunk_are_never_commands() -> None:
    async with talking() as (client, one):
        smuggled = b"RSET\r\nMAIL FROM:<evil@acme.example>\r\n"
        assert (await chunk(client, smuggled)).startswith("503")
        assert (await client.say("RCPT TO:<r@dest.example>")).startswith("503")
    assert one.spool.kept == []


async def test_case_038_a_chunk_that_drips_is_closed() -> None:
    options = ListenerOptions(data_grace=SOON, min_data_rate=1_000_000)
    async with talking(options=options) as (client, _):
        await begin(client)
        client.write(b"BDAT 1000 LAST\r\nFrom:")
        assert (await client.reply()).startswith(
            "421 4.4.2 The message came too slowly"
        )
        assert await client.closed()


async def test_case_038_chunks_that_drip_are_closed_between_two_of_them() -> None:
    options = ListenerOptions(data_grace=SOON, data_block_timeout=SOON)
    async with talking(options=options) as (client, _):
        await begin(client)
        assert (await chunk(client, HEADER)).startswith("250")
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.closed()


@pytest.mark.parametrize("octets", [b"BDAT 50\r\nFrom", b"BDAT 4\r\nFrom", b"BDAT 4"])
async def test_case_040_a_client_that_leaves_between_chunks_leaves_nothing(
    octets: bytes,
) -> None:
    one = desk()
    async with listening(one) as (server, port):
        client = await Client.connect(port)
        await client.open()
        await begin(client)
        client.write(octets)
        await client.close()
        await emptied(server)
        assert server.limits.admission.buffered == 0
    assert one.spool.kept == []
    assert one.log.errors == []


async def test_case_129_chunks_over_the_memory_bound_are_drained_and_get_452() -> None:
    options = ListenerOptions(max_buffered_octets=5_000)
    async with talking(options=options) as (client, one):
        big = MESSAGE + (b"z" * 98 + b"\r\n") * 100
        await begin(client)
        assert (await chunk(client, big)).startswith("452 4.3.1")
        assert (await chunk(client, big, " LAST")).startswith("452 4.3.1")
        await begin(client)
        assert (await chunk(client, MESSAGE, " LAST")).startswith("250")
    assert len(one.spool.kept) == 1
