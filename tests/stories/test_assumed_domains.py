"""A test harness sends from domains it never set up, while no mail can reach the world."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from soboo_mta.cli.trial.world import World, WorldError, free_ports, world

_TENANTS = """\
[[tenant]]
id = "acme"
credential = [{ user_name = "acme-app" }]
domain = [{ name = "acme.example", assume_verified = true }]
"""
_CATCH_ALL = """
[[routes]]
domain = "*"
next_hop = "127.0.0.2:{sink}"
"""
_BY_MX = """
[[routes]]
domain = "world.test"
next_hop = "mx"
"""


async def test_a_domain_is_assumed_verified_only_while_no_route_is_by_mx(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    async with world(tmp_path / "world", port=port, extra=_CATCH_ALL) as place:
        await place.command("secret", "generate")
        await place.apply(_TENANTS)
        await place.start_relay()
        await _sends(place)
        assert await place.stop_relay() == 0

        place.config.write_text(place.config.read_text() + _BY_MX)
        await _refuses(place, "serve")
        file = tmp_path / "other.toml"
        file.write_text(_TENANTS.replace("acme.example", "other.example"))
        await _refuses(place, "apply", "-f", str(file))


async def _sends(place: World) -> None:
    """Signed and with a bounce address of its own, though nothing is published."""
    message = EmailMessage()
    message["From"], message["To"] = "a@acme.example", "ann@anywhere.test"
    message.set_content("Hello.\n")
    answer = await place.submit("acme-app", message, ["ann@anywhere.test"])
    assert answer.startswith("250")
    (record,) = await place.lab.wait_for(1)
    assert record.rcpt_to == ("ann@anywhere.test",)
    assert record.mail_from.endswith("@bounce.acme.example")
    assert [one.d for one in record.verdict.dkim] == ["acme.example"]


async def _refuses(place: World, *words: str) -> None:
    with pytest.raises(WorldError, match="assume_verified is for test harnesses") as it:
        await place.command(*words)
    assert "the route world.test is by MX" in str(it.value)
