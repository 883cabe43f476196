"""DSN and FUTURERELEASE at the submission door: said, judged, kept (RFC 3461, RFC 4865)."""

from datetime import timedelta

import pytest

from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient, Returned
from soboo_mta.submission.options import AcceptanceOptions
from tests.fakes.submission import HOST, desk, talking

MAIL = "MAIL FROM:<a@acme.example>"
CONTENT = "From: a@acme.example\r\nSubject: x\r\n\r\nHello.\r\n.\r\n"


async def test_case_027_dsn_is_announced_and_what_is_asked_is_kept_with_its_case() -> (
    None
):
    one = desk()
    async with talking(one) as (client, _):
        assert "DSN" in await client.say("EHLO c.example")
        said = await client.say(f"{MAIL} ret=full ENVID=QQ+2B314159")
        assert said.startswith("250"), said
        for recipient in (
            "<Bob@x.example> NOTIFY=success,DELAY ORCPT=rfc822;Bob+2Bx@X.example",
            "<carol@x.example>",
            "<dan@x.example> notify=NEVER",
        ):
            said = await client.say(f"RCPT TO:{recipient}")
            assert said.startswith("250"), said
        assert (await client.say("DATA")).startswith("354")
        assert (await client.say(CONTENT.removesuffix("\r\n"))).startswith("250")
    (kept,) = one.spool.kept
    assert kept.dsn == DsnRequest(
        returned=Returned.FULL,
        envelope_id="QQ+314159",
        asked=(
            Asked(
                notify=frozenset({Notify.SUCCESS, Notify.DELAY}),
                orcpt=OriginalRecipient("rfc822", "Bob+x@X.example"),
            ),
            Asked(),
            Asked(notify=frozenset({Notify.NEVER})),
        ),
    )


async def test_case_027_who_asks_for_nothing_costs_nothing() -> None:
    one = desk()
    async with talking(one) as (client, _):
        await client.say(MAIL)
        await client.say("RCPT TO:<bob@x.example>")
        await client.say("DATA")
        assert (await client.say(CONTENT.removesuffix("\r\n"))).startswith("250")
    assert one.spool.kept[0].dsn is None


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("RET=ALL", "501 5.5.4"),
        ("RET", "501 5.5.4"),
        ("ENVID=a+0D+0Ab", "501 5.5.4"),
        ("ENVID=" + "e" * 101, "501 5.5.4"),
        ("ENVID=a ENVID=b", "501 5.5.4"),
        ("MT-PRIORITY=3", "555 5.5.4"),
    ],
)
async def test_case_027_what_mail_cannot_mean_is_refused(
    parameters: str, reply: str
) -> None:
    async with talking() as (client, _):
        assert (await client.say(f"{MAIL} {parameters}")).startswith(reply)
        assert (await client.say(MAIL)).startswith("250")


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
        ("NOTIFY=", "501 5.5.4"),
        ("NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4"),
        ("ORCPT=bob@x.example", "501 5.5.4"),
        ("ORCPT=rfc822;a+0Ab@x.example", "501 5.5.4"),
        ("ORCPT=utf-8;josé@x.example", "553 5.6.7"),
        ("RRVS=2030-01-01T00:00:00Z", "555 5.5.4"),
    ],
)
async def test_case_027_what_rcpt_cannot_mean_is_refused(
    parameters: str, reply: str
) -> None:
    async with talking() as (client, _):
        assert (await client.say(MAIL)).startswith("250")
        said = await client.say(f"RCPT TO:<bob@x.example> {parameters}")
        assert said.startswith(reply)


async def test_case_027_a_utf8_original_recipient_needs_smtputf8() -> None:
    async with talking() as (client, _):
        assert (await client.say(f"{MAIL} SMTPUTF8")).startswith("250")
        said = await client.say("RCPT TO:<bob@x.example> ORCPT=utf-8;josé@x.example")
        assert said.startswith("250")


@pytest.mark.parametrize(
    ("hold", "seconds"),
    [
        ("HOLDFOR=3600", 3600),
        ("HOLDUNTIL=2026-01-02T00:00:00Z", 86_400),
        ("HOLDUNTIL=2026-01-01t02:00:00.5+01:00", 3600.5),
    ],
)
async def test_case_165_a_scheduled_message_is_due_then_and_its_life_begins_then(
    hold: str, seconds: float
) -> None:
    one = desk()
    async with talking(one) as (client, _):
        said = await client.say("EHLO c.example")
        assert "FUTURERELEASE 2592000 2026-01-31T00:00:00Z" in said
        assert (await client.say(f"{MAIL} {hold}")).startswith("250")
        await client.say("RCPT TO:<bob@x.example>")
        await client.say("DATA")
        assert (await client.say(CONTENT.removesuffix("\r\n"))).startswith("250")
    (kept,) = one.spool.kept
    released = one.clock.unix_ms() + int(seconds * 1_000)
    assert one.spool.due_at == released
    assert one.spool.claims == [False]
    assert kept.expires_at == released + 5 * 86_400_000
    assert one.handed_over == []


@pytest.mark.parametrize(
    "hold",
    [
        "HOLDUNTIL=2025-12-31T23:59:59Z",  # the past
        "HOLDUNTIL=2026-02-01T00:00:00Z",  # over 30 days
        "HOLDFOR=2592001",
        "HOLDFOR=99999999999",
        "HOLDFOR=-1",
        "HOLDFOR=soon",
        "HOLDUNTIL=tomorrow",
        "HOLDUNTIL=2026-13-01T00:00:00Z",
        "HOLDUNTIL=2026-01-02T00:00:00",  # no zone
        "HOLDUNTIL=0001-01-01T00:00:00+23:00",
        "HOLDFOR=10 HOLDUNTIL=2026-01-02T00:00:00Z",
    ],
)
async def test_case_165_a_release_in_the_past_or_too_far_ahead_is_refused(
    hold: str,
) -> None:
    async with talking() as (client, _):
        assert (await client.say(f"{MAIL} {hold}")).startswith("501 5.5.4")
        assert (await client.say(MAIL)).startswith("250")


async def test_case_165_future_release_can_be_turned_off() -> None:
    options = AcceptanceOptions(host_name=HOST, longest_hold=timedelta(0))
    async with talking(desk(options)) as (client, _):
        assert "FUTURERELEASE" not in await client.say("EHLO c.example")
        assert (await client.say(f"{MAIL} HOLDFOR=10")).startswith("555 5.5.4")
