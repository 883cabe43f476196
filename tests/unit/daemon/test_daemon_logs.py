"""Logs are JSON lines on standard error, from the level that is set."""

import json
import os
import subprocess
import sys
from pathlib import Path

from soboo_mta.daemon.logs import Lines

PROGRAM = """
import logging, sys, structlog
from soboo_mta.daemon.logs import set_up_logs
set_up_logs(sys.argv[1])
log = structlog.get_logger("soboo_mta")
log.debug("looked")
log.info("accepted", message="m1", text="two\\nlines")
log.warning("held", reason="domain-broken")
logging.getLogger("some.library").warning("odd %s", "thing")
try:
    raise ValueError("broken")
except ValueError as error:
    log.error("internal_error", exc_info=error)
"""


def _lines(level: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_record_is_one_json_object_a_line_with_level_and_utc_time() -> None:
    lines = _lines("debug")
    assert [line["event"] for line in lines] == [
        "looked",
        "accepted",
        "held",
        "odd thing",
        "internal_error",
    ]
    assert lines[1]["text"] == "two\nlines"
    assert lines[1]["level"] == "info"
    assert all(str(line["timestamp"]).endswith("Z") for line in lines)


def test_a_fault_carries_its_trace() -> None:
    fault = _lines("error")[-1]
    assert "ValueError" in json.dumps(fault["exception"])


def test_records_below_the_level_are_not_written() -> None:
    assert [line["event"] for line in _lines("warning")] == [
        "held",
        "odd thing",
        "internal_error",
    ]


def test_case_142_a_full_log_disk_stops_nothing() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM + "print('went on')", "debug"],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=True,
        )
    assert done.stdout == "went on\n"


def test_case_142_lines_that_were_lost_are_counted_once_there_is_room(
    tmp_path: Path,
) -> None:
    full, file = (
        os.open("/dev/full", os.O_WRONLY),
        os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT),
    )
    lines = Lines(full)
    lines.write("one\n")
    lines.write("two\n")
    os.dup2(file, full)  # the same descriptor, another disk
    lines.write("three\n")
    lines.write("four\n")
    for descriptor in (full, file):
        os.close(descriptor)
    told, *rest = (tmp_path / "log").read_text().splitlines()
    assert json.loads(told)["lines"] == 2
    assert rest == ["three", "four"]


LOGIN = """
import asyncio, logging
from soboo_mta.daemon.logs import set_up_logs
from soboo_mta.events.log import EventLog
from soboo_mta.store.unit import StoreUnavailable
from tests.fakes.submission import talking

async def main():
    async with talking(logged_in=False) as (client, one):
        one.acceptance.log = EventLog()
        await client.reply()
        await client.say("EHLO c.example")
        one.directory.broken = StoreUnavailable("gone")
        secret = "AGFjbWUAa2J6N3NlY3JldHNlY3JldA=="
        assert (await client.say("AUTH PLAIN " + secret)).startswith("454")
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("any.library").exception("odd")

set_up_logs("info")
asyncio.run(main())
"""


def test_case_009_a_login_while_the_store_is_away_leaves_no_secret_in_the_log() -> None:
    command = [sys.executable, "-c", LOGIN]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    told = done.stderr
    assert "StoreUnavailable" in told
    assert "broken" in told
    assert "kbz7secretsecret" not in told
    assert "AGFjbWUAa2J6N3NlY3JldHNlY3JldA==" not in told
