"""A receiver says that mail does not authenticate: the domain's DNS is looked at again at
once, by an operator's own rule too, and no recipient pays for it."""

import json
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import select, update

from soboo_mta.cli.trial.world import World
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import read_now, write_now
from tests.chaos.ready_world import DOMAIN, USER, ready_world

_SINKS = """\
[[rule]]
domain = "alpha.test"
action = "reply"
reply = "550 5.7.1 go and see your postmaster"
"""
_RULES = """\
[provider.alpha]
hosts = ["alpha.test"]
[[rule]]
name = "what alpha means by it"
provider = "alpha"
text = "see your postmaster"
to = "unauthenticated"
"""
_CHOSEN = '[classification]\nrules = "bounce-rules.toml"\n'
_HOUR = 3_600_000  # ms


async def _submit(place: World, recipient: str) -> str:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"a@{DOMAIN}", recipient, "1"
    message.set_content("Hello.\n")
    return (await place.submit(USER, message, [recipient])).split()[-1]


async def test_a_refusal_of_authentication_has_the_domain_looked_at_again(
    tmp_path: Path,
) -> None:
    async with ready_world(tmp_path / "world", extra=_CHOSEN) as place:
        (place.directory / "sinks.toml").write_text(_SINKS)
        (place.directory / "bounce-rules.toml").write_text(_RULES)
        engine = open_engine(f"sqlite:///{place.directory}/data/soboo.db")
        looked_at = sending_domain.c.facts_at
        this = sending_domain.c.name == DOMAIN
        before = read_now(engine, lambda at: at.scalars(select(looked_at)).one())
        times = {"facts_at": before - _HOUR, "next_check_at": before + _HOUR}
        change = update(sending_domain).where(this).values(times)
        write_now(engine, lambda at: at.execute(change))
        await place.start_relay()
        refused = await _submit(place, "ann@alpha.test")

        async def is_looked_at() -> bool:
            found = read_now(engine, lambda at: at.scalars(select(looked_at)).one())
            return found > before - _HOUR

        await place.until("the domain was looked at again", is_looked_at)
        told = json.loads(await place.command("trace", refused, "--json"))
        assert told["recipients"] == [["ann@alpha.test", "failed"]]
        assert told["attempts"][0]["bounce_class"] == "unauthenticated"
        (doubt,) = [one for one in told["events"] if one["kind"] == "domain-doubted"]
        assert doubt["detail"]["reply"] == "550 5.7.1 go and see your postmaster"
        assert "(unauthenticated)" in await place.command("queue", "show", refused)
        assert "ann@alpha.test" not in await place.command(
            "suppression", "list", "--tenant", "acme"
        )
        line = next(one for one in place.relay_log().splitlines() if '"failed"' in one)
        assert json.loads(line)["bounce_class"] == "unauthenticated"
        await _submit(place, "bea@beta.test")
        (record,) = await place.lab.wait_for(1, 60)
        assert record.verdict.dmarc == "pass"
        engine.dispose()
