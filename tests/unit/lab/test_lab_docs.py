"""docs/lab.md and docs/testing.md say what there is: keys, words, routes, fixtures."""

import inspect
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from soboo_mta.lab.entries import parse_entries
from soboo_mta.lab.lab import Lab
from soboo_mta.lab.record import MessageRecord
from soboo_mta.lab.record import Verdict as Judged
from soboo_mta.lab.rules.rule import Action, Extension, Rule, Stage, TlsFault
from soboo_mta.lab.rules.words import rule_of
from soboo_mta.lab.web.serving import LabWeb
from soboo_mta.testing import plugin
from soboo_mta.testing.dns import SobooDns
from soboo_mta.testing.message import ReceivedMessage, Verdict
from soboo_mta.testing.running.relay import SobooRelay
from soboo_mta.testing.sinks import SobooSinks

DOCS = Path(__file__).parents[3] / "docs"
LAB = (DOCS / "lab.md").read_text(encoding="utf-8")
TESTING = (DOCS / "testing.md").read_text(encoding="utf-8")
EXAMPLE = MessageRecord(
    received_at=datetime(2026, 1, 1, tzinfo=UTC),
    peer="",
    sink="",
    helo="",
    tls=False,
    mail_from="",
    rcpt_to=(),
    size=0,
    verdict=Judged(),
)


def test_the_rules_of_the_page_are_rules() -> None:
    blocks = re.findall(r"(?m)(?:^    .*\n|^\n)+", LAB)
    texts = [block for block in blocks if "[[rule]]" in block]
    rules = [r for text in texts for r in parse_entries(text, "docs", "rule", Rule)]
    assert len(rules) == 7


@pytest.mark.parametrize(
    "word",
    [
        *Rule.model_fields,
        *(each.value for kind in (Action, Stage, TlsFault) for each in kind),
    ],
)
def test_every_word_of_a_rule_has_its_place(word: str) -> None:
    assert f"`{word}`" in LAB


def test_every_extension_is_named() -> None:
    assert all(each.value in LAB for each in Extension)


def test_the_tags_of_the_page_ask_for_something() -> None:
    tags = re.findall(r"`(\+[^`]+)`", LAB)
    assert len(tags) == 7
    for tag in tags:
        assert rule_of(f"bob{tag}@any.test") is not None
    assert rule_of("bob+reply-450-x2@any.test").times == 2


def test_every_key_of_a_record_is_in_the_table() -> None:
    record = MessageRecord.as_values(EXAMPLE)
    assert [key for key in record if f"`{key}`" not in LAB] == []


async def test_every_route_of_the_api_is_in_the_table(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    app = LabWeb(lab)._server._server.config.app._app
    for path in app.openapi()["paths"]:
        assert path.replace("{number}", "N").split("/attachments")[0] in LAB, path


@pytest.mark.parametrize("kind", [SobooDns, SobooRelay, SobooSinks, Verdict])
def test_every_public_name_of_a_fixture_is_documented(kind: type) -> None:
    own = {"prepare", "start", "stop", "end", "close", "of"}  # the plugin's own
    names = [
        name for name in vars(kind) if not name.startswith("_") and name not in own
    ]
    assert [name for name in names if name not in TESTING] == []


def test_every_field_of_a_message_is_documented() -> None:
    fields = [n for n in ReceivedMessage.__dataclass_fields__ if not n.startswith("_")]
    assert [name for name in fields if f"`{name}`" not in TESTING] == []


def test_every_fixture_and_option_is_documented() -> None:
    source = inspect.getsource(plugin)
    options = re.findall(r'"(soboo_\w+)",? ', source) + re.findall(
        r'addini\(\s*"(soboo_\w+)"', source
    )
    fixtures = re.findall(r"(?m)^def (soboo_\w+)\(", source)
    assert len(fixtures) == 5
    assert [name for name in fixtures if f"## {name}" not in TESTING] == []
    assert [name for name in options if f"`{name}`" not in TESTING] == []
