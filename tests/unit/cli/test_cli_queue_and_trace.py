"""What an operator reads of one message: queue list, show, why, release, and trace."""

import json
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from soboo_mta.__main__ import main
from soboo_mta.cli.context import actor, open_store
from soboo_mta.events.trace import trace
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.view import why
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now

CONFIG = """
[server]
data_directory = "var"
[secrets]
master_key_file = "var/master.key"
[operator]
domain = "esp.example"
[[listeners]]
address = "127.0.0.1"
port = 2525
tls = "none"
[[sources]]
name = "default"
public_address = "8.8.8.8"
ehlo_name = "mta1.esp.example"
"""
MESSAGE = MessageId(0x0123_4567_89AB_CDEF)
NOON = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
Run = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "soboo.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command; return its output. `code` is the exit code wanted."""

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
def waiting(config: Path) -> None:
    """One message: a recipient deferred by its next hop, one behind a domain's gate."""
    write_now(open_store(config).engine, _insert)


def _insert(connection: Connection) -> None:
    message: dict[str, object] = {
        "id": int(MESSAGE),
        "tenant_id": "acme",
        "domain_id": 7,
        "reverse_path": "app@acme.example",
        "author": "news@acme.example",
        "header_message_id": "<1@acme.example>",
        "client": "10.0.0.1",
        "eight_bit": False,
        "smtputf8": False,
        "size": 2048,
        "pieces": 0,
        "recipients": 1,
        "accepted_at": NOON,
        "expires_at": NOON + 432_000_000,
        "body_hash": b"\0" * 32,
        "checksum": 0,
        "content": b"x",
    }
    one: dict[str, object] = {
        "message_id": int(MESSAGE),
        "position": 0,
        "address": "ann@far.example",
        "domain": "far.example",
        "tenant_id": "acme",
        "domain_id": 7,
        "state": "deferred",
        "reason": "reply",
        "due_at": NOON + 300_000,
        "attempts": 1,
        "last_reply": "451 4.7.1 greylisted",
    }
    for name in ("acme", "other"):
        tenant = {"id": name, "name": name, "created_at": NOON}
        connection.execute(insert(schema.tenant).values(tenant))
    held = {"id": int(MESSAGE) + 1, "domain_id": 8}
    gated = {"message_id": int(MESSAGE) + 1, "domain_id": 8, "state": "held"}
    connection.execute(insert(schema.message), [message, {**message, **held}])
    connection.execute(insert(schema.recipient), [one, {**one, **gated}])
    connection.execute(
        insert(schema.gate).values(
            scope="domain",
            subject="8",
            reason="domain-broken",
            explanation="publish bounce.acme.example CNAME",
            since=NOON,
        )
    )
    connection.execute(
        insert(schema.attempt).values(
            message_id=int(MESSAGE),
            position=0,
            at=NOON + 1_000,
            outcome="deferred",
            reason="reply",
            reply="451 4.7.1 greylisted",
            host="mx.far.example[127.0.0.1]:25",
            source="default",
            tls="TLSv1.3",
            duration_ms=12,
        )
    )


def test_an_empty_queue_says_so(run: Run) -> None:
    assert run("queue", "list") == "nothing waits\n"


@pytest.mark.usefixtures("waiting")
def test_the_list_names_each_recipient_its_reason_and_the_shut_gates(run: Run) -> None:
    shown = run("queue", "list")
    (line,) = [one for one in shown.splitlines() if str(MESSAGE) in one]
    for word in ("acme", "ann@far.example", "deferred", "2026-01-01 12:05:00 UTC"):
        assert word in line
    assert "gate: domain 8 held since 2026-01-01 12:00:00 UTC: domain-broken" in shown


@pytest.mark.usefixtures("waiting")
def test_the_list_is_narrowed_by_its_options(run: Run) -> None:
    listed = json.loads(run("queue", "list", "--state", "deferred", "--json"))
    assert [one["state"] for one in listed] == ["deferred"]
    assert json.loads(run("queue", "list", "--to", "near.example", "--json")) == []
    assert json.loads(run("queue", "list", "--tenant", "other", "--json")) == []
    assert len(json.loads(run("queue", "list", "--limit", "1", "--json"))) == 1


@pytest.mark.usefixtures("waiting")
def test_show_gives_the_envelope_and_the_recipients(run: Run) -> None:
    shown = run("queue", "show", str(MESSAGE))
    for word in ("<app@acme.example>", "2048 octets", "10.0.0.1", "ann@far.example"):
        assert word in shown
    told = json.loads(run("queue", "show", str(MESSAGE), "--json"))
    assert [one["bounce_class"] for one in told["recipients"]] == ["greylisted"]


@pytest.mark.usefixtures("waiting")
def test_why_says_the_peers_words_and_the_next_attempt(run: Run) -> None:
    assert run("queue", "why", str(MESSAGE)) == (
        "ann@far.example: deferred, reply (greylisted): 451 4.7.1 greylisted"
        " (due 2026-01-01 12:05:00 UTC, 1 attempts)\n"
    )


@pytest.mark.usefixtures("waiting")
def test_why_names_the_record_to_mend_behind_a_gate(run: Run) -> None:
    shown = run("queue", "why", str(MessageId(MESSAGE + 1)))
    assert "held, domain-broken: publish bounce.acme.example CNAME" in shown


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("hold",), "held"),
        (("cancel",), "cancelled"),
    ],
)
def test_a_move_is_made_and_noted(
    run: Run, config: Path, words: tuple[str, ...], state: str
) -> None:
    shown = run("queue", *words, str(MESSAGE), "--because", "asked to wait")
    assert shown.endswith("recipients: 1\n")
    engine = open_store(config).engine
    (entry,) = read_now(engine, lambda connection: why(connection, MESSAGE))
    assert entry.state == state
    told = read_now(engine, lambda connection: trace(connection, MESSAGE, own_rules()))
    assert told is not None
    assert [(one.actor, one.detail) for one in told.events] == [
        (actor(), {"recipients": 1, "because": "asked to wait"})
    ]
    assert pwd.getpwuid(os.getuid()).pw_name in actor()


@pytest.mark.usefixtures("waiting")
def test_trace_tells_the_story_in_order_of_time(run: Run) -> None:
    run("queue", "hold", str(MESSAGE), "--because", "asked to wait")
    accepted, attempt, held, now = run("trace", str(MESSAGE)).splitlines()
    assert "accepted" in accepted
    assert "from news@acme.example" in accepted
    assert "at mx.far.example[127.0.0.1]:25 from default, TLSv1.3, 12 ms" in attempt
    assert "deferred (reply, greylisted) at" in attempt
    assert attempt.endswith("451 4.7.1 greylisted")
    assert "message-held by cli:" in held
    assert now == "now: ann@far.example is held"


@pytest.mark.usefixtures("waiting")
def test_trace_as_json_is_the_whole_trace(run: Run) -> None:
    told = json.loads(run("trace", str(MESSAGE), "--json"))
    assert told["tenant"] == "acme"
    assert told["attempts"][0]["bounce_class"] == "greylisted"
    assert told["attempts"][0]["host"] == "mx.far.example[127.0.0.1]:25"


@pytest.mark.parametrize("words", [("queue", "show"), ("queue", "why"), ("trace",)])
def test_an_unknown_message_is_said_in_one_sentence(
    run: Run, words: tuple[str, ...]
) -> None:
    said = run(*words, str(MESSAGE), code=2)
    assert said == (
        f"soboo-mta: no message {MESSAGE}: never seen, or past its retention\n"
    )


def test_a_word_that_is_no_message_id_is_refused(run: Run) -> None:
    assert "is not a message id" in run("trace", "nonsense", code=2)


_PLAN = {
    "rung": "full",
    "bounce_domain": "bounce.acme.example",
    "bounce_blind": False,
    "signatures": [
        {"d": "acme.example", "s": "sb1", "a": "rsa-sha256", "key": 12},
        {"d": "esp.example", "s": "sb1", "a": "rsa-sha256", "key": 3},
    ],
    "ehlo": "mta1.esp.example",
    "verdict": "pass",
}
_ALIGNED = {
    "aligned": {
        "walk": ["SPF of bounce.acme.example", "DKIM d=acme.example"],
        "suffix_list": ["DKIM d=acme.example"],
    },
    "policy": "reject",
}


def _attempted(config: Path, plan: dict[str, object]) -> None:
    """One more attempt, under this plan."""

    def write(connection: Connection) -> None:
        connection.execute(insert(schema.plan).values(id=5, detail=json.dumps(plan)))
        connection.execute(
            insert(schema.attempt).values(
                message_id=int(MESSAGE),
                position=0,
                at=NOON + 2_000,
                outcome="delivered",
                reason="reply",
                reply="250 2.0.0 ok",
                host="mx.far.example[127.0.0.1]:25",
                source="default",
                tls="TLSv1.3",
                duration_ms=9,
                plan_id=5,
            )
        )

    write_now(open_store(config).engine, write)


@pytest.mark.usefixtures("waiting")
def test_an_attempt_tells_how_it_departed_and_what_was_foretold(
    run: Run, config: Path
) -> None:
    _attempted(config, _PLAN | _ALIGNED)

    lines = [line.strip() for line in run("trace", str(MESSAGE)).splitlines()]

    start = lines.index("plan full: own bounce domain, own signature")
    assert lines[start + 1 : start + 6] == [
        "reverse-path at bounce.acme.example, EHLO mta1.esp.example, source default",
        "signed d=acme.example s=sb1 (rsa-sha256, key 12),"
        " d=esp.example s=sb1 (rsa-sha256, key 3)",
        "DMARC pass was foretold, policy reject",
        "receivers by the tree walk (RFC 9989): SPF of bounce.acme.example and DKIM"
        " d=acme.example aligned",
        "receivers by the public suffix list: DKIM d=acme.example aligned",
    ]


@pytest.mark.usefixtures("waiting")
def test_a_plan_of_an_older_release_is_told_as_far_as_it_was_kept(
    run: Run, config: Path
) -> None:
    _attempted(
        config, _PLAN | {"bounce_domain": None, "signatures": [], "rung": "spf-only"}
    )

    shown = run("trace", str(MESSAGE))

    assert "reverse-path at the author (bounces go to the customer)" in shown
    assert "signed by nobody" in shown
    assert "DMARC pass was foretold" in shown
    assert "suffix list" not in shown
