"""kill -9 between a request with an idempotency key and its answer: one message."""

import os
from collections import Counter
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world

_DIE = Path(__file__).parent / "die.py"
_HTTP = '\n[[http_listeners]]\naddress = "127.0.0.1"\nport = {port}\ntls = false\n'
_POINTS = (
    "before the accepting commit",
    "after the accepting commit",
    "after the hand-over, before 250",
)
_REPEATS = 3
_TAKEN_OVER = 30.0  # seconds, at most


async def test_case_168_a_key_makes_one_message_whenever_the_relay_dies(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    async with ready_world(tmp_path, extra=_HTTP.format(port=port)) as place:
        await _one_message_each(place, port)


async def test_case_168_a_key_makes_one_message_on_postgresql_too(
    tmp_path: Path, postgresql_server: str
) -> None:
    (port,) = free_ports(1)
    name = f"once_{os.getpid()}"
    _admin(postgresql_server, f"CREATE DATABASE {name} TEMPLATE template")
    url = postgresql_server.replace("/postgres?", f"/{name}?")
    extra = _HTTP.format(port=port) + f'\n[store]\nurl = "{url}"\n'
    try:
        async with ready_world(tmp_path, extra=extra) as place:
            await _one_message_each(place, port)
    finally:
        _admin(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


async def _one_message_each(place: World, port: int) -> None:
    answers: dict[str, str] = {}
    for point in _POINTS:
        marker = place.directory / point.replace(" ", "-")
        await place.start_relay((str(_DIE), point, "1", "all", str(marker)))
        with pytest.raises(httpx.TransportError):
            await _post(place, port, point)
        assert marker.exists(), point
        await place.stop_relay()
        await place.start_relay()
        found = {await _post(place, port, point) for _ in range(_REPEATS)}
        assert len(found) == 1, point
        answers[point] = name = f"<{found.pop()}@{DOMAIN}>"

        async def has_come(
            name: str = name,
        ) -> bool:  # else the next life may die of it
            return name in _copies(place)

        await place.until(f"{name} has come", has_come, _TAKEN_OVER)
        await place.stop_relay()
    copies = _copies(place)
    assert copies.keys() == set(answers.values())
    assert len(copies) == len(_POINTS)
    # The life that dies after the hand-over may have sent it already.
    assert copies.pop(answers[_POINTS[-1]]) <= 2
    assert set(copies.values()) == {1}


def _copies(place: World) -> Counter[str]:
    """How often each message has arrived."""
    return Counter(one.verdict.message_id for one in place.lab.records)


async def _post(place: World, port: int, key: str) -> str:
    """The id that is answered."""
    async with httpx.AsyncClient(
        auth=(USER, place.secrets[USER]), timeout=20
    ) as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/v1/messages",
            json={
                "from": f"news@{DOMAIN}",
                "to": "ann@alpha.test",
                "subject": key,
                "text": "Once.",
            },
            headers={"idempotency-key": key.replace(" ", "-")},
        )
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


def _admin(url: str, command: str) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(text(command))
    engine.dispose()
