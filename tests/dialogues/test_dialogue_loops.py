"""Messages that went round: case 158."""

import pytest

from soboo_mta.submission.options import AcceptanceOptions
from tests.fakes.submission import HOST, MESSAGE, desk, talking

OTHERS = (
    b"Received: from a.example by b.example with ESMTP id 1;\r\n\tThu, 1 Jan 2026\r\n"
)
OURS = b"Received: by %b with ESMTPSA id 0123456789abc;\r\n\tThu, 1 Jan 2026\r\n"


@pytest.mark.parametrize(("hops", "code"), [(0, "250"), (50, "250"), (51, "554 5.4.6")])
async def test_case_158_more_received_fields_than_the_limit_are_a_loop(hops, code):
    async with talking() as (client, one):
        answer = await client.send(OTHERS * hops + MESSAGE)
        assert answer.startswith(code)
        assert len(one.spool.kept) == code.startswith("2")


async def test_case_158_the_limit_is_a_setting():
    options = AcceptanceOptions(host_name=HOST, max_hops=3)
    async with talking(desk(options)) as (client, _):
        assert (await client.send(OTHERS * 4 + MESSAGE)).startswith("554 5.4.6")


async def test_case_158_what_comes_back_to_us_again_and_again_is_a_loop():
    """A to B to A: each round has one more Received field of ours, as we write it."""
    async with talking() as (client, one):
        octets, rounds = MESSAGE, []
        for _ in range(4):
            rounds.append((await client.send(octets))[:9])
            octets = OTHERS + one.spool.kept[-1].content
        assert rounds == ["250 2.0.0", "250 2.0.0", "250 2.0.0", "554 5.4.6"]


async def test_case_158_a_field_that_only_names_us_is_none_of_ours():
    forwarded = (
        b"Received: from %b by b.example with ESMTP id 1; now\r\n" % HOST.encode()
    )
    near = OURS % b"mta.esp.example.com"
    async with talking() as (client, _):
        octets = forwarded * 5 + near * 5 + OURS % HOST.encode() * 2 + MESSAGE
        assert (await client.send(octets)).startswith("250")
