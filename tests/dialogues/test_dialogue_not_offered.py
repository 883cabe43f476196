"""What is not offered is refused in words: domains that are none, further extensions
(cases 119 and 154)."""

import pytest

from tests.fakes.submission import talking


@pytest.mark.parametrize(
    "domain",
    ["[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost", "d.example:25", "192.0.2.1"],
)
async def test_case_119_a_recipient_elsewhere_than_at_a_mail_domain_is_refused(
    domain: str,
) -> None:
    async with talking() as (client, one):
        await client.say("MAIL FROM:<a@acme.example>")
        assert (await client.say(f"RCPT TO:<u@{domain}>")).startswith("501 5.1.3")
        assert (await client.say("DATA")).startswith("503")
    assert one.spool.kept == []


async def test_case_154_requiretls_is_not_offered_and_so_refused() -> None:
    """RFC 8689 §2: who asks for it must not be told 250 by a host that ignores it."""
    async with talking() as (client, _):
        assert "REQUIRETLS" not in await client.say("EHLO c.example")
        said = await client.say("MAIL FROM:<a@acme.example> REQUIRETLS")
        assert said.startswith("555 5.5.4")
