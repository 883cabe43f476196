"""Suppressed recipients as a client hears of them, and the stream of its mail."""

import pytest

from soboo_mta.mail.ids import NO_STREAM, Stream
from soboo_mta.store.unit import StoreUnavailable
from tests.fakes.submission import ACME, MESSAGE, Desk, desk, talking

GONE = "gone@d.example"
NEWS = Stream("news")


def strict() -> Desk:
    one = desk()
    one.directory.tenants[ACME].refuses_suppressed = True
    one.suppressions.entries = {
        (GONE, NO_STREAM): "There is no such mailbox.",
        ("ann@d.example", NEWS): "unsubscribed",
    }
    return one


def of_stream(*values: str) -> bytes:
    return b"".join(f"X-Soboo-Stream: {one}\r\n".encode() for one in values) + MESSAGE


async def test_a_suppressed_recipient_is_refused_at_rcpt_where_the_tenant_says_so() -> (
    None
):
    async with talking(strict()) as (client, one):
        await client.say("MAIL FROM:<a@acme.example>")
        refused = await client.say(f"RCPT TO:<{GONE}>")
        assert refused == (
            "550 5.7.1 The recipient is suppressed: There is no such mailbox."
        )
        # An entry for one stream is asked at departure: the header says the stream.
        assert (await client.say("RCPT TO:<ann@d.example>")).startswith("250")
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert list(map(str, kept.recipients)) == ["ann@d.example"]


async def test_it_is_accepted_where_the_tenant_does_not() -> None:
    one = strict()
    one.directory.tenants[ACME].refuses_suppressed = False
    async with talking(one) as (client, _):
        await client.say("MAIL FROM:<a@acme.example>")
        assert (await client.say(f"RCPT TO:<{GONE}>")).startswith("250")


async def test_a_list_that_cannot_be_read_defers_the_recipient() -> None:
    one = strict()
    one.suppressions.broken = StoreUnavailable("away")
    async with talking(one) as (client, _):
        await client.say("MAIL FROM:<a@acme.example>")
        assert (await client.say(f"RCPT TO:<{GONE}>")).startswith("451")


@pytest.mark.parametrize(
    ("values", "stream"), [((), NO_STREAM), (("news",), NEWS), ((" news ",), NEWS)]
)
async def test_the_stream_is_kept_and_its_field_does_not_leave(
    values: tuple[str, ...], stream: Stream
) -> None:
    async with talking() as (client, one):
        assert (await client.send(of_stream(*values))).startswith("250")
    (kept,) = one.spool.kept
    assert kept.stream == stream
    assert b"x-soboo" not in kept.content.lower()


@pytest.mark.parametrize("values", [("News!",), ("",), ("news", "news"), ("x" * 33,)])
async def test_a_field_that_names_no_one_stream_is_refused(
    values: tuple[str, ...],
) -> None:
    async with talking() as (client, one):
        said = await client.send(of_stream(*values))
    assert said.startswith("550 5.6.0")
    assert "X-Soboo-Stream" in said
    assert one.spool.kept == []
