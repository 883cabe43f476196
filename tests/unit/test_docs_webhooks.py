"""docs/webhooks.md: its tables are the code's, and its receiver works as it stands."""

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import NOWHERE, newest
from soboo_mta.events.outbox.form import (
    ATTEMPT_FIELDS,
    ATTEMPT_TYPES,
    COMMON_FIELDS,
    OTHER_FIELDS,
    REPLAYED_FIELD,
    TYPES,
    ToldEvent,
)
from soboo_mta.events.outbox.source import read_events
from soboo_mta.formats.webhooks import SigningSecret, signed_fields
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.outlets.webhook import NotPosted, Posted, WebhookDoor, WebhookOptions
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.dns import FakeResolver
from tests.fakes.happenings import OK, happened, tried, with_message
from tests.fakes.tenancy import with_tenants

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def rows(head: str) -> list[list[str]]:
    """First cells of each table with that head."""
    found = []
    for table in re.findall(
        rf"(?m)^\| {head} \|[^\n]*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE
    ):
        found.append(re.findall(r"(?m)^\| `([^`]+)` \| \S", table))
    return found


def test_each_field_has_a_row_and_each_row_a_field() -> None:
    assert rows("field") == [
        list(COMMON_FIELDS),
        list(ATTEMPT_FIELDS),
        list(OTHER_FIELDS),
        [REPLAYED_FIELD],
    ]


def test_each_type_has_a_row_and_each_row_a_type() -> None:
    attempts, others = rows("type")
    assert tuple(attempts) == ATTEMPT_TYPES
    assert (*attempts, *others) == TYPES


def test_events_have_exactly_these_fields(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    write_now(engine, with_tenants)
    write_now(engine, lambda at: with_message(at, 1))
    write_now(engine, lambda at: tried(at, 1, OK, 1))
    write_now(engine, lambda at: happened(at, EventKind.KEY_ACTIVATED, 2))
    read = read_now(engine, lambda at: read_events(at, NOWHERE, newest(at)))
    engine.dispose()
    attempt, other = read.events
    assert _fields(attempt) == [*COMMON_FIELDS, *ATTEMPT_FIELDS]
    assert _fields(other) == [*COMMON_FIELDS, *OTHER_FIELDS]
    assert list(json.loads(other.text(is_replayed=True)))[-1] == REPLAYED_FIELD


def _fields(event: ToldEvent) -> list[str]:
    return list(json.loads(event.text()))


def test_the_pages_event_is_of_that_form() -> None:
    (shown,) = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    assert list(json.loads(shown)) == [*COMMON_FIELDS, *ATTEMPT_FIELDS]


# ---- the receiver


@contextmanager
def _the_pages_receiver(secret: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    (port,) = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-c", code.replace("8000", str(port))],
        env=os.environ | {"WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield port, process
        finally:
            process.terminate()


async def test_the_pages_receiver_takes_what_is_ours_and_nothing_else() -> None:
    secret = SigningSecret.generate()
    (shown,) = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    body, event_id = shown.encode(), json.loads(shown)["id"]
    now = int(time.time())
    good = signed_fields(event_id, now, body, (SigningSecret.generate(), secret))
    with _the_pages_receiver(secret.reveal()) as (port, process):
        door = WebhookDoor(
            f"http://127.0.0.1:{port}/",
            resolver=FakeResolver(),
            clock=SystemClock(),
            options=WebhookOptions(ports=(port,), private_destinations=True),
            tls=ssl.create_default_context(),
        )
        try:
            async with asyncio.timeout(20):
                while isinstance(await door.post(body, good), NotPosted):
                    await asyncio.sleep(0.05)  # it is being started
            assert await door.post(body, good) == Posted(204)
            for forged in (
                signed_fields(event_id, now - 301, body, (secret,)),
                signed_fields(event_id, now, body + b" ", (secret,)),
                signed_fields("evt_other", now, body, (secret,))
                | {"webhook-id": event_id},
                signed_fields(event_id, now, body, (SigningSecret.generate(),)),
            ):
                refused = await door.post(body, forged)
                assert isinstance(refused, Posted)
                assert refused.status == 401
        finally:
            door.close()
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.read() == "delivered ann@there.example\n"  # once
