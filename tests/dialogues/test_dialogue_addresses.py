"""MAIL and RCPT: what is no address never gets further (cases 14-17, 19-23, 26, 27)."""

import pytest

from tests.fakes.submission import MESSAGE, talking


@pytest.mark.parametrize(
    "local_part",
    [b"a\0b", b"a\tb", b"a\x7fb", b"a\x01b", b'"a\\\x02 b"', b'"a\x1bb"', b'"a\0"'],
)
async def test_case_014_control_octets_in_addresses_are_refused(
    local_part: bytes,
) -> None:
    async with talking() as (client, _):
        said = await client.say(b"MAIL FROM:<" + local_part + b"@acme.example>")
        assert said.startswith("501 5.")
        await client.say("MAIL FROM:<a@acme.example>")
        said = await client.say(b"RCPT TO:<" + local_part + b"@dest.example>")
        assert said.startswith("501 5.")
        assert (await client.say("DATA")).startswith("503")


async def test_case_014_a_bare_cr_in_a_quoted_local_part_is_refused() -> None:
    async with talking() as (client, _):
        said = await client.say(b'MAIL FROM:<"a\\\r b"@acme.example>')
        assert said.startswith("500 5.5.2")
        assert (await client.say("RCPT TO:<r@dest.example>")).startswith("503")


async def test_case_015_parameters_that_look_like_addresses_are_parsed() -> None:
    async with talking() as (client, _):
        said = await client.say("MAIL FROM:<a@acme.example> AUTH=<x@y.example>")
        assert said.startswith("250")
        said = await client.say("RCPT TO:<u@d.example> ORCPT=rfc822;u@d.example X=1")
        assert said.startswith("555 5.5.4")
        assert (await client.say("RCPT TO:<u v@d.example>")).startswith("501 5.1.3")
        assert (await client.say("RCPT TO:<u@d.example>> X=1")).startswith("501")
        assert (await client.say("RCPT TO:<<u@d.example>>")).startswith("501")


@pytest.mark.parametrize(
    "path",
    [
        "<a(@b.example>",
        "<(c)a@b.example>",
        "<a@b.example(c)>",
        "<@r1.example,@r2.example:a@b.example>",
        "<a b@c.example>",
        "<abc>",
        "a@b.example",
        "<a@b.example>SIZE=10",
        "<a@b.example",
        "<a@b.example>x@y.example",
        "<a@b@c.example>",
        "<a@[127.0.0.1]>",
        "<a..b@c.example>",
        "<.a@c.example>",
    ],
)
async def test_case_016_comments_routes_and_half_paths_are_refused(path: str) -> None:
    async with talking() as (client, _):
        assert (await client.say(f"MAIL FROM:{path}")).startswith("501 5.")
        await client.say("MAIL FROM:<a@acme.example>")
        assert (await client.say(f"RCPT TO:{path}")).startswith("501 5.")


async def test_case_016_the_address_kept_is_the_one_that_was_said() -> None:
    async with talking() as (client, one):
        await client.say('MAIL FROM:<"odd > local"@Acme.Example>')
        await client.say("RCPT TO: <User+Tag@DEST.example>")
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert str(kept.reverse_path) == '"odd > local"@acme.example'
    assert [str(to) for to in kept.recipients] == ["User+Tag@dest.example"]


async def test_case_017_the_null_reverse_path_is_null_and_no_address() -> None:
    async with talking() as (client, one):
        assert (await client.say("MAIL FROM:<>")).startswith("250")
        assert (await client.say("MAIL FROM:<>")).startswith("503")
        assert (await client.say("RCPT TO:<>")).startswith("501 5.1.3")
        await client.say("RCPT TO:<r@dest.example>")
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert kept.reverse_path.is_null
    assert kept.tenant == "acme"


async def test_case_019_octets_that_are_no_utf_8_are_refused() -> None:
    async with talking() as (client, _):
        said = await client.say(b"MAIL FROM:<\xff\xfe@b.example> SMTPUTF8")
        assert said.startswith("501 5.5.2")
        assert (await client.say(b"RCPT TO:<\xed\xb2\x80@b.example>")).startswith("501")
        assert (await client.say("NOOP")).startswith("250")


async def test_case_020_an_address_that_is_not_ascii_needs_smtputf8() -> None:
    async with talking() as (client, one):
        said = await client.say("MAIL FROM:<jörg@acme.example>")
        assert said.startswith("553 5.6.7")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("250")
        assert (await client.say("RCPT TO:<jörg@dest.example>")).startswith("553 5.6.7")
        assert (await client.say("RCPT TO:<j@bücher.example>")).startswith("553 5.6.7")
        await client.say("RSET")
        assert (await client.say("MAIL FROM:<ö@acme.example> SMTPUTF8")).startswith(
            "250"
        )
        assert (await client.say("RCPT TO:<jörg@bücher.example>")).startswith("250")
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert kept.smtputf8
    assert str(kept.recipients[0]) == "jörg@xn--bcher-kva.example"


async def test_case_021_smtputf8_that_nothing_needs_is_not_asked_of_the_next_hop() -> (
    None
):
    async with talking() as (client, one):
        await client.say("MAIL FROM:<a@acme.example> SMTPUTF8")
        await client.say("RCPT TO:<r@bücher.example>")  # its A-label form is ASCII
        await client.say("DATA")
        client.write(MESSAGE + "Grüße\r\n".encode() + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert not kept.smtputf8
    assert kept.eight_bit


@pytest.mark.parametrize(
    "domain",
    [
        "bücher.example",
        "BÜCHER.Example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.EXAMPLE",
        "bücher\u3002example",
    ],
)
async def test_case_022_every_spelling_of_a_domain_is_one_domain(domain: str) -> None:
    """Of an envelope; a From field is taken in its plain forms alone (case 51)."""
    async with talking() as (client, one):
        await client.say(f"MAIL FROM:<a@{domain}> SMTPUTF8")
        assert (await client.say(f"RCPT TO:<r@{domain}>")).startswith("250")
        assert (await client.say("RCPT TO:<r@xn--bcher-kva.example>"))[:3] == "250"
        await client.say("DATA")
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    (kept,) = one.spool.kept
    assert str(kept.reverse_path) == "a@xn--bcher-kva.example"
    assert [str(to) for to in kept.recipients] == ["r@xn--bcher-kva.example"]


@pytest.mark.parametrize(
    "domain", ["xn--a.example", "xn--\u00fc.example", "-ü.example"]
)
async def test_case_022_what_is_no_punycode_is_refused(domain: str) -> None:
    async with talking() as (client, _):
        said = await client.say(f"MAIL FROM:<a@{domain}> SMTPUTF8")
        assert said.startswith("501 5.1.7")
        await client.say("MAIL FROM:<a@acme.example> SMTPUTF8")
        assert (await client.say(f"RCPT TO:<r@{domain}>")).startswith("501 5.1.3")


async def test_case_023_over_long_parts_are_refused_and_the_session_goes_on() -> None:
    async with talking() as (client, _):
        said = await client.say(f"MAIL FROM:<{'a' * 65}@acme.example>")
        assert said.startswith("501 5.1.7")
        domain = ".".join(["d" * 60] * 5)
        assert (await client.say(f"MAIL FROM:<a@{domain}>")).startswith("501 5.1.7")
        domain = ".".join(["d" * 60] * 4) + ".example"
        long = f"MAIL FROM:<{'a' * 60}@{domain}>"
        assert (await client.say(long)).startswith("501 5.1.7")
        assert (await client.say("NOOP " + "x" * 600)).startswith("500 5.5.6")
        assert (await client.say("MAIL FROM:<a@acme.example>")).startswith("250")
        assert (await client.say("RCPT TO:<" + "x" * 1100 + ">")).startswith(
            "500 5.5.6"
        )
        assert (await client.say(f"RCPT TO:<{'a' * 64}@d.example>")).startswith("250")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("SIZE=1 SIZE=2", "501 5.5.4"),
        ("SIZE=", "501 5.5.4"),
        ("SIZE", "501 5.5.4"),
        ("SIZE=ten", "501 5.5.4"),
        ("SIZE=" + "9" * 30, "501 5.5.4"),
        ("SIZE=²", "501 5.5.4"),
        ("BODY=BINARYMIME", "555 5.5.4"),
        ("SMTPUTF8=yes", "501 5.5.4"),
        ("X-OTHER=1", "555 5.5.4"),
        ("=1", "501 5.5.4"),
        ("BODY=8bitmime size=10", "250"),
        ("AUTH=<>", "250"),
    ],
)
async def test_case_026_parameters_are_known_well_formed_and_single(
    parameters: str, code: str
) -> None:
    async with talking() as (client, _):
        said = await client.say(f"MAIL FROM:<a@acme.example> {parameters}")
        assert said.startswith(code)


async def test_case_037_the_same_recipient_twice_is_delivered_once() -> None:
    async with talking() as (client, one):
        await client.envelope(
            "a@acme.example",
            "r@d.example",
            "r@D.EXAMPLE",
            "r+x@d.example",
            "R@d.example",
        )
        client.write(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
    assert [str(to) for to in one.spool.kept[0].recipients] == [
        "r@d.example",
        "r+x@d.example",
        "R@d.example",
    ]
