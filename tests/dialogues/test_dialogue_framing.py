"""What stands between DATA and the final dot (cases 1, 2, 4, 5, 24, 25 of the case list)."""

import pytest

from soboo_mta.net.smtp_server.protocol.body import Body
from soboo_mta.submission.options import AcceptanceOptions
from tests.fakes.submission import HEADER, HOST, MESSAGE, desk, talking

FAKE_ENDS = (
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\n",
    b"\r\n\0.\r",
    b"\r\r\n.\r\n\0",
    b"\n\n.\r\n",
    b"\r\n.\0\r\n",
)
SMUGGLED = (
    b"MAIL FROM:<evil@acme.example>\r\nRCPT TO:<victim@dest.example>\r\nDATA\r\n"
    b"From: evil@acme.example\r\n\r\nsmuggled\r\n"
)


@pytest.mark.parametrize("fake_end", FAKE_ENDS)
async def test_case_001_no_fake_end_of_data_makes_a_second_message(
    fake_end: bytes,
) -> None:
    async with talking() as (client, one):
        if fake_end == b"\r\r\n.\r\n\0":  # its first seven octets hold the real end
            fake_end = b"\r\r\n.\r\r\n\0"
        said = await client.send(MESSAGE + b"x" + fake_end + SMUGGLED)
        assert said.startswith("554 5.6.0")
        assert one.spool.kept == []
        assert (await client.send(MESSAGE)).startswith("250 2.0.0")
        assert len(one.spool.kept) == 1


@pytest.mark.parametrize("fake_end", FAKE_ENDS[:9])
async def test_case_001_a_fake_end_split_at_every_octet_is_no_end(
    fake_end: bytes,
) -> None:
    octets = MESSAGE + b"x" + fake_end + SMUGGLED + b".\r\n"
    start = len(MESSAGE)
    async with talking() as (client, one):
        for cut in range(start, start + len(fake_end) + 3):
            assert (await client.envelope()).startswith("354")
            client.write(octets[:cut])
            await client.writer.drain()
            client.write(octets[cut:])
            assert (await client.reply()).startswith("554 5.6.0")
        assert one.spool.kept == []
        assert (await client.say("NOOP")).startswith("250")


@pytest.mark.parametrize("fake_end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\r\n.\r\r\n"])
async def test_case_001_mended_line_ends_still_make_one_message(
    fake_end: bytes,
) -> None:
    one = desk(AcceptanceOptions(host_name=HOST, mend_line_ends=True))
    async with talking(one) as (client, _):
        said = await client.send(MESSAGE + b"x" + fake_end + SMUGGLED)
        assert said.startswith("250")
        assert (await client.say("NOOP")).startswith("250 2.0.0")
    (kept,) = one.spool.kept
    assert b"MAIL FROM:<evil@acme.example>\r\n" in kept.content
    stripped = kept.content.replace(b"\r\n", b"")
    assert b"\r" not in stripped
    assert b"\n" not in stripped


@pytest.mark.parametrize("octets", [b"a\nb", b"a\rb", b"a\r\r\nb", b"a\0b"])
async def test_case_002_bare_line_ends_and_nul_are_refused(octets: bytes) -> None:
    async with talking() as (client, one):
        said = await client.send(MESSAGE + octets + b"\r\n")
        assert said.startswith("554 5.6.0")
        assert one.spool.kept == []


async def test_case_002_nul_is_refused_where_line_ends_are_mended() -> None:
    one = desk(AcceptanceOptions(host_name=HOST, mend_line_ends=True))
    async with talking(one) as (client, _):
        assert "NUL" in await client.send(MESSAGE + b"a\0b\r\n")
        assert (await client.send(MESSAGE + b"a\nb\r\n")).startswith("250")
    assert one.spool.kept[0].content.endswith(b"Hello\r\na\r\nb\r\n")


async def test_case_004_dots_arrive_as_they_were_whatever_the_chunks() -> None:
    lines = [b".", b"..", b".x", b"a.", b"", b"...", b". ", b"end"]
    body = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join(
        (b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines
    )
    octets = HEADER + b"\r\n" + stuffed + b".\r\n"
    async with talking() as (client, one):
        for cut in range(len(HEADER), len(octets)):
            await client.envelope()
            client.write(octets[:cut])
            await client.writer.drain()
            client.write(octets[cut:])
            assert (await client.reply()).startswith("250")
    assert len(one.spool.kept) == len(octets) - len(HEADER)
    assert all(kept.content.endswith(b"\r\n\r\n" + body) for kept in one.spool.kept)


async def test_case_005_an_empty_message_and_one_without_header_are_refused() -> None:
    async with talking() as (client, one):
        assert (await client.send(b"")).startswith("550 5.6.0")
        assert (await client.send(b"no header here\r\n")).startswith("554 5.6.0")
        assert (await client.send(b"\r\nFrom: a@acme.example\r\n")).startswith("550")
        assert one.spool.kept == []
        assert one.log.errors == []


async def test_case_005_a_message_of_fields_alone_is_kept_with_an_empty_body() -> None:
    async with talking() as (client, one):
        assert (await client.send(HEADER)).startswith("250")
        assert (await client.send(HEADER + b"\r\n")).startswith("250")
    assert one.spool.kept[0].content.endswith(HEADER + b"\r\n")
    assert one.spool.kept[0].body_hash == one.spool.kept[1].body_hash


@pytest.mark.parametrize(
    ("length", "code"), [(998, "250"), (999, "554"), (1000, "554"), (1 << 20, "554")]
)
async def test_case_024_lines_over_998_octets_are_refused(
    length: int, code: str
) -> None:
    async with talking() as (client, one):
        said = await client.send(MESSAGE + b"x" * length + b"\r\nend\r\n")
        assert said.startswith(code)
        assert (await client.send(b"X-Long: " + b"y" * 2000 + b"\r\n")).startswith(
            "554"
        )
        assert (await client.say("NOOP")).startswith("250")
    assert [b"x" * length in kept.content for kept in one.spool.kept] == (
        [True] if code == "250" else []
    )


async def test_case_025_size_is_judged_at_mail_and_at_the_final_dot() -> None:
    limit = len(MESSAGE) + 2_000
    filler = (b"z" * 98 + b"\r\n") * 20
    exact = MESSAGE + filler
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=limit))
    async with talking(one) as (client, _):
        assert f"SIZE {limit}" in await client.say("EHLO again.example")
        assert (
            await client.say(f"MAIL FROM:<a@b.example> SIZE={limit + 1}")
        ).startswith("552 5.3.4")
        assert (await client.send(exact)).startswith("250")
        assert (await client.send(exact + b"\r\n")).startswith("552 5.3.4")
        await client.say("MAIL FROM:<a@b.example> SIZE=10")  # lies low
        await client.say("RCPT TO:<r@dest.example>")
        await client.say("DATA")
        client.write(exact + filler * 10 + b".\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert (await client.say(f"MAIL FROM:<a@b.example> SIZE={limit}")).startswith(
            "250"
        )
    assert len(one.spool.kept) == 1


async def test_case_025_stuffed_dots_do_not_count_as_size() -> None:
    dots = b".\r\n" * 700
    limit = len(MESSAGE) + len(dots)
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=limit))
    async with talking(one) as (client, _):
        stuffed = MESSAGE + b"..\r\n" * 700
        assert (await client.send(stuffed)).startswith("250")
        assert (await client.send(stuffed + b"..\r\n")).startswith("552")


def test_case_025_over_the_size_nothing_is_held() -> None:
    body = Body(1_000)
    held = []
    for _ in range(30):
        assert body.feed(b"z" * 98 + b"\r\n") is None
        held.append(body.held)
    assert max(held) < 1_500
    assert held[-1] < 10
    assert body.received == 3_000


async def test_case_025_ten_times_the_size_is_refused_and_the_connection_in_step() -> (
    None
):
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=100_000))
    async with talking(one) as (client, _):
        await client.envelope()
        for _ in range(10):
            client.write((b"z" * 98 + b"\r\n") * 1_000)
            await client.writer.drain()
        client.write(b".\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert (await client.say("NOOP")).startswith("250")


async def test_case_045_a_header_that_would_slow_others_is_refused() -> None:
    async with talking() as (client, one):
        many = HEADER + b"List-Help:\r\n" * 1_000 + b"\r\nx\r\n"
        assert "1000 fields" in await client.send(many)
        line = b" " + b"x" * 900 + b"\r\n"
        large = HEADER + b"X-Large: y\r\n" + line * 300 + b"\r\nx\r\n"
        assert "262144 octets" in await client.send(large)
        folded = HEADER + b"X-Large: y\r\n" + line * 200 + b"\r\nx\r\n"
        assert (await client.send(folded)).startswith("250")
    assert len(one.spool.kept) == 1


@pytest.mark.parametrize("subject", [b" hello\x0c", b" a\x0b", b" a\r\n \x0c"])
async def test_case_071_what_verifiers_strip_differently_is_refused(
    subject: bytes,
) -> None:
    async with talking() as (client, one):
        said = await client.send(HEADER.replace(b" hello", subject) + b"\r\nHi\r\n")
        assert said.startswith("554 5.6.0")
        assert "form feed" in said
        body = b"\r\nIn the body they stay.\x0c\x0b\r\n"
        assert (await client.send(HEADER + body)).startswith("250")
    assert len(one.spool.kept) == 1
