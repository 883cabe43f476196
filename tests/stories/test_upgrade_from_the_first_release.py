"""A store that the first release left is upgraded, and what waited in it is delivered."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.store.engine import open_engine
from soboo_mta.store.migrate import HEAD
from tests.chaos.ready_world import DOMAIN, USER, ready_world, store_url
from tests.chaos.sender import written
from tests.fakes.first_schema import FIRST, taken_back

_CLOSED = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "451 4.3.2 Closed for the night"
"""


async def test_what_waited_in_the_first_releases_store_is_delivered_by_this_one(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world") as place:
        (place.directory / "sinks.toml").write_text(_CLOSED)
        await place.start_relay()
        mail = written("old", ("ann@alpha.test",), b"x" * 50)
        parsed = message_from_bytes(mail.octets, EmailMessage, policy=policy.default)
        message = (await place.submit(USER, parsed, ["ann@alpha.test"])).split()[-1]

        async def is_deferred() -> bool:
            return "deferred" in await place.command("queue", "why", message)

        await place.until("it is deferred", is_deferred)
        assert await place.stop_relay() == 0
        data = place.directory / "data"
        engine = open_engine(store_url(place))
        taken_back(engine, data / "first.db")
        engine.dispose()
        for one in data.glob("soboo.db*"):
            one.unlink()
        (data / "first.db").rename(data / "soboo.db")
        assert f"schema {FIRST}: whole" in await place.command("store", "check")
        said = await place.command("store", "upgrade")
        assert said == f"schema {FIRST} became {HEAD}\n"
        assert "nothing to do" in await place.command("store", "upgrade")
        (place.directory / "sinks.toml").write_text("")
        await place.start_relay()
        (record,) = await place.lab.wait_for(1, 60)
        assert record.verdict.message_id == f"<old@{DOMAIN}>"
