"""`soboo-mta webhook`, as an operator types it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.cursors import NOWHERE, newest
from soboo_mta.events.outbox.feed import fan_out
from soboo_mta.events.outbox.source import read_events
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from tests.fakes.happenings import LATER, OK, happened, tried, with_message
from tests.fakes.receiver import Receiver, answer, verified
from tests.fakes.tenancy import with_tenants

Run = Callable[..., str]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """In clear on loopback, on a thread of its own: each command has a loop of its own."""
    made, loop = Receiver(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    opened = made.open(in_clear=True)
    asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
    yield made
    closing = opened.__aexit__(None, None, None)
    asyncio.run_coroutine_threadsafe(closing, loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def run(config: Path, store: CliStore, receiver: Receiver) -> Run:
    write_now(store.engine, with_tenants)
    lab = f"[webhooks]\nports = [443, {receiver.port}]\nprivate_destinations = true\n"
    config.write_text(config.read_text() + lab)

    def typed(*words: str, code: int = 0) -> str:
        runner = CliRunner(env={"COLUMNS": "250", "SOBOO_CONFIG": str(config)})
        result = runner.invoke(app, ["webhook", *words])
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.stdout

    return typed


@pytest.fixture
def url(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}/in"


def _add(run: Run, url: str, *more: str) -> str:
    words = ("add", "--tenant", "acme", "--url", url, "--json", *more)
    secret: str = json.loads(run(*words))["secret"]
    return secret


def test_one_is_added_listed_shown_and_removed(
    run: Run, url: str, store: CliStore
) -> None:
    assert "there are no webhooks" in run("list")
    said = run(
        "add", "--tenant", "acme", "--url", url, "--types", "failed, domain-broken"
    )
    secret = said.split()[-1]
    assert secret.startswith("whsec_")
    assert url in run("list")
    assert "there are no webhooks" in run("list", "--tenant", "rival")
    shown = run("show", "1")
    assert "types    domain-broken, failed" in shown
    assert "state    active" in shown
    assert "secrets  1 in use" in shown
    assert secret not in run("list", "--json") + run("show", "1", "--json")
    assert run("remove", "1", "--yes") == "removed webhook 1\n"
    assert "there are no webhooks" in run("list")
    events = read_now(
        store.engine,
        lambda at: at.execute(select(schema.event.c.kind, schema.event.c.detail)).all(),
    )
    assert [row.kind for row in events] == ["webhook-added", "webhook-removed"]
    assert url not in str(events)


def test_a_test_event_is_sent_at_once_and_its_answer_shown(
    run: Run, url: str, receiver: Receiver
) -> None:
    secret = _add(run, url)
    assert run("test", "1").startswith("204 (")
    (got,) = receiver.got
    assert got.event["type"] == "test"
    assert got.event["tenant"] == "acme"
    assert verified(got, secret)
    receiver.behave = lambda _: answer(500, b"not today")
    assert run("test", "1", code=1).startswith("500 not today (")
    log = json.loads(run("log", "1", "--json"))
    assert [one["status"] for one in log] == [500, 204]
    assert "500 not today" in run("log", "1")


def test_a_new_secret_signs_beside_the_old_one_for_a_while(
    run: Run, url: str, receiver: Receiver
) -> None:
    old = _add(run, url)
    new = json.loads(run("rotate-secret", "1", "--json"))["secret"]
    run("test", "1")
    assert verified(receiver.got[-1], old)
    assert verified(receiver.got[-1], new)
    newest_one = json.loads(run("rotate-secret", "1", "--overlap", "0s", "--json"))
    run("test", "1")
    assert verified(receiver.got[-1], newest_one["secret"])
    assert not verified(receiver.got[-1], old)
    assert not verified(receiver.got[-1], new)


def test_disabled_and_enabled_again(run: Run, url: str) -> None:
    _add(run, url)
    assert run("disable", "1", "--because", "moving") == "disabled webhook 1\n"
    assert run("disable", "1") == "webhook 1 was disabled\n"
    assert ": moving" in run("show", "1")
    with pytest.raises(FormatError, match="is disabled"):
        run("replay", "1", "--since", "2026-01-01T00:00:00Z")
    assert run("enable", "1") == "enabled webhook 1\n"
    assert run("enable", "1") == "webhook 1 was enabled\n"
    assert "state    active" in run("show", "1")


def test_a_time_is_replayed_as_far_as_there_is_room(
    run: Run, url: str, store: CliStore, config: Path
) -> None:
    _add(run, url, "--types", "delivered,deferred")
    day = 86_400_000

    def fill(at: Connection) -> None:
        with_message(at, 1)
        for number in range(700):
            tried(at, 1, LATER, day + number)
        tried(at, 1, OK, 2 * day)
        happened(at, EventKind.DOMAIN_BROKEN, day)

    write_now(store.engine, fill)
    since = ("replay", "1", "--since", "1970-01-02T00:00:00Z")
    assert "queued 701 events" in run(*since)
    assert "queued 700 events" in run(*since, "--until", "1970-01-03")
    assert json.loads(run("list", "--json"))[0]["waiting"] == 1_401
    config.write_text(config.read_text() + "max_waiting = 1500\n")
    assert "queued 99 events" in run(*since, code=1)
    bodies = read_now(
        store.engine, lambda at: set(at.scalars(select(schema.outbox.c.body)))
    )
    assert all(json.loads(one)["replayed"] is True for one in bodies)


def test_what_was_told_and_what_is_replayed_have_one_id(
    run: Run, url: str, store: CliStore
) -> None:
    _add(run, url)
    now = store.clock.unix_ms() + 1_000

    def feed(at: Connection) -> None:
        with_message(at, 1)
        tried(at, 1, OK, now)
        batch = read_events(at, NOWHERE, newest(at))
        assert fan_out(at, batch, NOWHERE, now=now, most=9)

    write_now(store.engine, feed)
    run("replay", "1", "--since", "2026-01-01T00:00:00Z", "--until", "2999-01-01")
    ids = read_now(
        store.engine,
        lambda at: list(
            at.scalars(
                select(schema.outbox.c.event_id).where(
                    schema.outbox.c.type == "delivered"
                )
            )
        ),
    )
    assert len(ids) == 2
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "--tenant", "acme", "--url", "https://10.0.0.1:25/"), "port 25"),
        (("add", "--tenant", "acme", "--url", "https://a.test/"), "DNS gave no answer"),
        (
            ("add", "--tenant", "acme", "--url", "https://x@a.test/"),
            "no user name or password",
        ),
        (("show", "7"), "there is no webhook 7"),
        (("test", "7"), "there is no webhook 7"),
        (("log", "7"), "there is no webhook 7"),
        (("disable", "7"), "there is no webhook 7"),
        (("enable", "7"), "there is no webhook 7"),
        (("remove", "7", "--yes"), "there is no webhook 7"),
        (("rotate-secret", "7"), "there is no webhook 7"),
        (("rotate-secret", "1", "--overlap", "1y"), "not a duration"),
        (("rotate-secret", "1", "--overlap", "31d"), "at most 30d"),
        (("replay", "7", "--since", "yesterday"), "is no time"),
        (
            ("replay", "7", "--since", "2026-01-01", "--until", "2026-01-01"),
            "nothing happened in between",
        ),
    ],
)
def test_what_cannot_be_is_said(run: Run, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        run(*words)


def test_an_unknown_type_or_tenant_is_said(run: Run, url: str) -> None:
    with pytest.raises(FormatError, match="'opened' is no type"):
        run("add", "--tenant", "acme", "--url", url, "--types", "opened")
    with pytest.raises(TenancyError, match="no tenant nobody"):
        run("add", "--tenant", "nobody", "--url", url)
    with pytest.raises(TenancyError, match="no tenant nobody"):
        run("list", "--tenant", "nobody")
