"""`soboo-mta lab` as a command of its own, and its table."""

import asyncio
import io
import signal
import sys
from collections import deque
from datetime import UTC, datetime

import aiosmtplib
import pytest
from rich.console import Console
from typer.testing import CliRunner

from soboo_mta.cli.trial.lab import app, table
from soboo_mta.lab.record import MessageRecord, Verdict, read_records

_RUN = "from soboo_mta.cli.trial.lab import app; app()"


async def test_the_command_serves_until_it_is_interrupted(world):
    world.publish_customer()
    records = world.directory / "out.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _RUN,
        *("--zones", str(world.directory / "zones")),
        *(
            "--web",
            "127.0.0.1:0",
            "--dns",
            "127.0.0.1:0",
            "--sink",
            "127.0.0.1:0",
            "--sink",
            "127.0.0.2:0",
        ),
        *("--records", str(records)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        said = [(await process.stdout.readline()).decode() for _ in range(3)]
        assert said[1].startswith("sinks 127.0.0.1 127.0.0.2 port ")
        await aiosmtplib.send(
            world.signed(world.message()),
            hostname="127.0.0.2",
            port=int(said[1].split()[-1]),
            sender="b-1@bounce.customer.test",
            recipients=["bob@dest.test"],
            start_tls=False,
        )
        process.send_signal(signal.SIGINT)
        rest = (await process.stdout.read()).decode()
        assert await process.wait() == 0
    assert "1 messages, 0 refusals" in rest
    assert [record["dmarc"] for record in read_records(records)] == ["pass"]


@pytest.mark.parametrize(
    "options",
    [
        ["--dns", "5300"],
        ["--dns", "127.0.0.1:70000"],
        ["--sink", "127.0.0.1:2600", "--sink", "127.0.0.2:2601"],
    ],
)
def test_an_address_that_makes_no_sense_is_refused(options, tmp_path):
    outcome = CliRunner().invoke(app, ["--zones", str(tmp_path), *options])
    assert outcome.exit_code == 2


def test_the_table_shows_no_markup_or_escape_of_a_message():
    record = MessageRecord(
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        peer="127.0.0.1",
        sink="127.0.0.1",
        helo="x",
        tls=False,
        mail_from="",
        rcpt_to=("a@b.test",),
        size=1,
        verdict=Verdict(author="[red]\x1b[2Jx", dmarc="fail"),
    )
    shown = io.StringIO()
    Console(file=shown, width=160).print(table(deque([record]), 1))
    assert "[red]?[2Jx" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()
