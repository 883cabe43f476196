"""In mode manual a rotation shows what to paste, waits, and ends by itself."""

import json
from pathlib import Path

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import ready_world

NAME = "hand.example"


async def keys(place: World) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(
        await place.command("key", "list", NAME, "--json")
    )
    return found


async def test_the_next_key_signs_once_its_owner_published_what_was_shown(
    tmp_path: Path,
) -> None:
    looks = '[signing]\nlook_every = "1s"\n'
    async with ready_world(tmp_path / "world", extra=looks) as place:
        await place.command(
            "domain", "add", NAME, "--tenant", "acme", "--mode", "manual"
        )
        published = await place.publish(NAME)
        await place.command("domain", "verify", NAME)
        await place.start_relay()
        shown = await place.command("key", "rotate", NAME)
        first, ready = await keys(place)
        assert (first["state"], ready["state"]) == ("active", "next")
        wanted = f"selector {ready['selector']} to be published in {NAME}"
        assert ready["waits_for"] == wanted

        name, value = _pasted(shown)
        assert name == f"{ready['selector']}._domainkey.{NAME}"
        pasted = f"{name}. TXT {value}"
        place.zones.write_customer(NAME, [*published, pasted])

        async def has_rotated() -> bool:
            states = [one["state"] for one in await keys(place)]
            return states[:2] == ["retiring", "active"]

        await place.until("the next key signs", has_rotated)


def _pasted(shown: str) -> tuple[str, str]:
    """The name and the value as the command shows them to whoever owns the domain."""
    lines = [line.strip() for line in shown.splitlines() if line.startswith("  ")]
    name, value = (line.split(maxsplit=1)[1] for line in lines)
    return name, value
