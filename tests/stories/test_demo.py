"""The demonstration counts at the sinks: it succeeds, and fails when it should."""

import sqlite3
from io import StringIO
from pathlib import Path

from rich.console import Console

from soboo_mta.cli.trial.demo import RULES, run_demo
from soboo_mta.cli.trial.world import World


async def test_the_demo_comes_about_and_says_so(tmp_path: Path) -> None:
    said = StringIO()
    assert await run_demo(tmp_path / "demo", Console(file=said, width=200))
    last = said.getvalue().splitlines()[-1]
    assert last == (
        "demo: 5 messages, 10 recipients: 9 delivered, 1 failed as they should,"
        " 9 DMARC pass, 0 lost"
    )
    assert "domain-broken" in said.getvalue()


async def test_without_its_keys_the_relay_sends_nothing_and_the_demo_fails(
    tmp_path: Path,
) -> None:
    async def lose_the_keys(place: World) -> None:
        with sqlite3.connect(place.directory / "data" / "soboo.db") as store:
            store.execute("UPDATE dkim_key SET private_key = NULL")
        store.close()

    said = StringIO()
    good = await run_demo(
        tmp_path / "demo",
        Console(file=said, width=200),
        patience=3,
        before_mail=lose_the_keys,
    )
    assert not good
    last = said.getvalue().splitlines()[-1]
    assert " 0 delivered, 0 failed as they should, 0 DMARC pass, 10 lost" in last


async def test_a_message_that_a_sink_does_not_keep_makes_the_demo_fail(
    tmp_path: Path,
) -> None:
    async def refuse_one(place: World) -> None:
        (place.directory / "sinks.toml").write_text(
            RULES + '\n[[rule]]\nrecipient = "bea@beta.test"\naction = "reply"\n'
            'reply = "550 5.1.1 Gone"\n'
        )

    said = StringIO()
    good = await run_demo(
        tmp_path / "demo",
        Console(file=said, width=200),
        patience=3,
        before_mail=refuse_one,
    )
    assert not good
    assert ", 0 lost" not in said.getvalue().splitlines()[-1]
