"""Moves from the command line: what they do, who is noted, and what they say of nothing."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from soboo_mta.__main__ import main
from soboo_mta.cli.context import CliStore, actor
from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.operator.orders import reroutes
from soboo_mta.spool.view import QueueEntry, gates, list_waiting
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from tests.fakes.connector import a_message

Run = Callable[..., str]
FAR = 4_000_000_000_000


@pytest.fixture
def run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    def command(*words: str, code: int = 0) -> str:
        line = ["soboo-mta", *words, "--config", str(config)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        assert (end.value.code or 0) == code, out.err
        return out.out if code == 0 else out.err

    return command


@pytest.fixture
def queue(store: CliStore, run: Run) -> CliStore:
    """Two tenants; acme's mail to two destinations, other's to one; all deferred."""
    for tenant in ("acme", "other"):
        run("tenant", "add", tenant)

    def fill(connection: Connection) -> None:
        for number, (tenant, domain_id, to) in enumerate(
            (
                ("acme", 7, ("a@x.example", "b@y.example")),
                ("acme", 7, ("c@x.example",)),
                ("other", 8, ("d@x.example",)),
            ),
            start=1,
        ):
            message = a_message(number, tenant=tenant, domain_id=domain_id, to=to)
            for one in accepting(
                message, pieces=0, holder=None, state=RecipientState.DEFERRED
            ):
                rows = [{**row} for row in one.rows]
                for row in rows:
                    row.update({"due_at": FAR} if "due_at" in row else {})
                connection.execute(one.clause, rows)

    write_now(store.engine, fill)
    return store


def waiting(store: CliStore) -> tuple[QueueEntry, ...]:
    return read_now(store.engine, list_waiting)


def events(store: CliStore) -> list[tuple[str, str, dict[str, object]]]:
    found = select(schema.event.c.kind, schema.event.c.actor, schema.event.c.detail)
    rows = read_now(
        store.engine, lambda at: at.execute(found.order_by(schema.event.c.id)).all()
    )
    return [(row.kind, row.actor, json.loads(row.detail)) for row in rows][2:]


def test_a_tenants_hold_is_one_row_and_opens_with_release(
    queue: CliStore, run: Run
) -> None:
    said = run("queue", "hold", "--tenant", "acme", "--because", "they asked")
    assert said == "tenant acme: held from now on\n"
    (gate,) = read_now(queue.engine, gates)
    assert (gate.scope, gate.subject, gate.explanation) == (
        "tenant",
        "acme",
        "they asked",
    )
    assert "gate: tenant acme held since" in run("queue", "list")
    assert "operator-hold: they asked" in run("queue", "why", str(MessageId(2)))
    again = run("queue", "hold", "--tenant", "acme", "--because", "x", code=1)
    assert "it is held already" in again
    run("queue", "release", "--tenant", "acme", "--because", "mended")
    assert read_now(queue.engine, gates) == ()
    told = {"scope": "tenant", "subject": "acme"}
    assert events(queue) == [
        ("gate-closed", actor(), {**told, "because": "they asked"}),
        ("gate-opened", actor(), {**told, "because": "mended"}),
    ]


@pytest.mark.parametrize(
    ("option", "value", "scope"),
    [
        ("--to", "X.example", "destination x.example"),
        ("--site", "MX1.x.example.", "site mx1.x.example"),
        ("--source", "default", "source default"),
    ],
)
def test_destination_site_and_source_have_a_gate_each(
    queue: CliStore, run: Run, option: str, value: str, scope: str
) -> None:
    run("queue", "hold", option, value, "--because", "blocked")
    (gate,) = read_now(queue.engine, gates)
    assert f"{gate.scope} {gate.subject}" == scope


def test_what_several_words_narrow_is_held_as_it_waits_now(
    queue: CliStore, run: Run
) -> None:
    words = ("--tenant", "acme", "--to", "x.example")
    said = run("queue", "hold", *words, "--because", "blocked")
    assert said == "of acme to x.example: held, recipients: 2\n"
    assert read_now(queue.engine, gates) == ()
    held = [one.recipient for one in waiting(queue) if one.state == "held"]
    assert held == ["a@x.example", "c@x.example"]
    run("queue", "release", *words)
    assert {str(one.state) for one in waiting(queue)} == {"deferred", "queued"}
    assert [kind for kind, _, _ in events(queue)] == [
        "message-held",
        "message-held",
        "message-released",
        "message-released",
    ]


def test_retry_and_cancel_take_the_same_words(queue: CliStore, run: Run) -> None:
    assert "recipients: 3" in run("queue", "retry", "--to", "x.example")
    due = [one.recipient for one in waiting(queue) if (one.due_at or FAR) < FAR]
    assert due == ["a@x.example", "c@x.example", "d@x.example"]
    told = json.loads(run("queue", "cancel", "--tenant", "other", "--json"))
    assert told["recipients"] == 1
    assert [one.recipient for one in waiting(queue)] == [
        "a@x.example",
        "b@y.example",
        "c@x.example",
    ]


def test_nothing_moved_says_why_and_is_an_error(queue: CliStore, run: Run) -> None:
    run("queue", "cancel", str(MessageId(3)))
    said = run("queue", "cancel", str(MessageId(3)), code=1)
    assert said.startswith(f"nothing was cancelled: {MessageId(3)}: 1 cancelled;")
    assert "2 deferred" in run("queue", "release", str(MessageId(1)), code=1)
    said = run("queue", "retry", "--to", "z.example", code=1)
    assert "no mail waits that is to z.example" in said


def test_no_words_are_not_everything(queue: CliStore, run: Run) -> None:
    assert "say which mail is meant" in run("queue", "cancel", code=2)
    assert len(waiting(queue)) == 4
    said = run("queue", "hold", "--tenant", "acmee", "--because", "x", code=2)
    assert "there is no tenant acmee" in said
    assert "no sending domain" in run("queue", "retry", "--domain", "a.test", code=2)


def test_a_reroute_is_a_row_makes_its_mail_due_and_is_taken_back(
    queue: CliStore, run: Run
) -> None:
    words = ("--to", "x.example", "--via", "192.0.2.1:25", "--via", "mx.backup.example")
    said = run("queue", "reroute", *words, "--standing", "--because", "they are down")
    assert "goes to 192.0.2.1:25, mx.backup.example:25" in said
    assert "made due now, recipients: 3" in said
    (order,) = read_now(queue.engine, reroutes)
    assert (order.destination, order.accepted_before) == ("x.example", None)
    line = f"reroute {order.number}: to x.example goes to 192.0.2.1:25"
    assert line in run("queue", "list")
    run("queue", "reroute", "--undo", str(order.number))
    assert read_now(queue.engine, reroutes) == ()
    assert "there is no reroute" in run(
        "queue", "reroute", "--undo", str(order.number), code=1
    )


def test_a_reroute_of_what_waits_leaves_later_mail_alone(
    queue: CliStore, run: Run
) -> None:
    run("queue", "reroute", "--tenant", "other", "--via", "192.0.2.1")
    (order,) = read_now(queue.engine, reroutes)
    assert order.accepted_before is not None
    said = run("queue", "reroute", "--to", "z.example", "--via", "192.0.2.1", code=1)
    assert "nothing to reroute" in said
    assert "say where to" in run("queue", "reroute", "--to", "x.example", code=2)
    said = run("queue", "reroute", "--to", "x.example", "--via", "a b", code=2)
    assert "a b" in said


def test_top_sums_up_by_what_is_asked(queue: CliStore, run: Run) -> None:
    groups = json.loads(run("queue", "top", "--by", "tenant", "--json"))
    assert [(one["key"], one["waiting"]) for one in groups] == [
        ("acme", 3),
        ("other", 1),
    ]
    shown = run("queue", "top", "--by", "destination")
    assert "x.example" in shown
    assert "last reply" in shown
    assert run("queue", "top", "--to", "z.example") == "nothing waits\n"


def test_corrupt_rows_are_listed_by_that_word_and_shown_with_their_cause(
    queue: CliStore, run: Run
) -> None:
    def damage(connection: Connection) -> None:
        connection.execute(
            insert(schema.recipient).values(
                message_id=99,
                position=0,
                address="z@x.example",
                domain="x.example",
                tenant_id="acme",
                domain_id=7,
                state="held",
                reason="corrupt",
                due_at=FAR,
                attempts=0,
                last_reply="its message row is missing",
            )
        )

    write_now(queue.engine, damage)
    listed = json.loads(run("queue", "list", "--state", "corrupt", "--json"))
    assert [one["recipient"] for one in listed] == ["z@x.example"]
    shown = run("queue", "show", str(MessageId(99)))
    assert "held, corrupt: its message row is missing" in shown
